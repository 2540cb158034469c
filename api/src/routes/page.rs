//! The dashboard and the API's own page: embedded files.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::error::ApiError;

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/page"]
struct Dashboard;

pub(crate) async fn index(headers: HeaderMap) -> Response {
    file("index.html", &headers)
}

pub(crate) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    file(&format!("assets/{path}"), &headers)
}

pub(crate) async fn docs() -> Response {
    text("text/html; charset=utf-8", include_str!("../../page/docs.html"))
}

pub(crate) async fn docs_script() -> Response {
    text("text/javascript; charset=utf-8", include_str!("../../page/docs.js"))
}

pub(crate) async fn docs_style() -> Response {
    text("text/css; charset=utf-8", include_str!("../../page/docs.css"))
}

fn text(kind: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    let Some(found) = Dashboard::get(path) else {
        return ApiError::NotFound { what: "such page".into() }.into_response();
    };
    let mut tag = String::from("\"");
    for byte in found.metadata.sha256_hash().iter().take(16) {
        tag.push_str(&format!("{byte:02x}"));
    }
    tag.push('"');
    // Vite names assets by their content; the page itself has one name for ever.
    let caching =
        if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    // A proxy that compresses makes the tag a weak one, and a cache may know several: this is the weak comparison (RFC 9110 section 13.1.2).
    let given = headers.get(header::IF_NONE_MATCH).and_then(|given| given.to_str().ok());
    let known = given.is_some_and(|given| {
        given.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, found.metadata.mimetype().to_owned())], found.data.into_owned())
            .into_response()
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
