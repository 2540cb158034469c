//! What every route's description has alike: who may ask, and how a refusal looks.

use utoipa::Modify;
use utoipa::openapi::content::Content;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::Response;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, OpenApi, Ref, RefOr};

/// What the scheme of authentication is called in the description.
const SCHEME: &str = "token";

/// The media type of problem documents (RFC 9457 section 6.1).
const PROBLEM: &str = "application/problem+json";

/// Adds it to every route.
pub(crate) struct Common;

impl Modify for Common {
    fn modify(&self, description: &mut OpenApi) {
        let components = description.components.get_or_insert_with(Components::new);
        components.add_security_scheme(SCHEME, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        for item in description.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                complete(operation);
            }
        }
    }
}

fn complete(operation: &mut Operation) {
    // On loopback nothing has to be shown.
    operation.security =
        Some(vec![SecurityRequirement::new::<_, [String; 0], _>(SCHEME, []), SecurityRequirement::default()]);
    let any = Response::new(
        "Any other refusal: 401 without the token, 421 for another host's name, 503 without a store",
    );
    let responses = &mut operation.responses.responses;
    responses.entry("default".to_owned()).or_insert(RefOr::T(any));
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && !status.starts_with('2')
        {
            response.content.clear();
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.insert(PROBLEM.to_owned(), problem.into());
        }
    }
}
