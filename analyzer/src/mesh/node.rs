//! A YAML or JSON value that remembers the line it stands on.
//!
//! Resources are read from these rather than straight into structs: one odd field must not cost the whole document, a
//! citation needs the line of the very field that decides, and map keys come as integers or strings.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A value and its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Line in the document, from 1; 0 where the reader could not tell.
    pub line: u32,
    /// Line of the key that this is the value of; `line` where it is not a value in a mapping.
    pub key_line: u32,
    /// The value.
    pub value: Value,
}

/// What a YAML node can be, as far as Kubernetes objects go.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null, or nothing after the colon.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in its own order; keys that are numbers or booleans are written out.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Returns the value under `key`; absent for null, and for anything that is no mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
            .filter(|node| !node.is_null())
    }

    /// Follows keys downwards.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Returns the text; absent for anything else.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_) => None,
        }
    }

    /// Returns the scalar as text; absent for null, lists and mappings.
    #[must_use]
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the whole number, also when it is written as text.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match &self.value {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the boolean, also as YAML 1.1 writes it, and as text.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => Some(true),
                "false" | "no" | "off" | "n" => Some(false),
                _ => None,
            },
            Value::Null | Value::Number(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the items of a sequence; none for anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Map(_) => &[],
        }
    }

    /// Returns the entries of a mapping; none for anything else.
    #[must_use]
    pub fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_) => &[],
        }
    }

    /// Makes a node of a JSON value, all of which stands on one line.
    #[must_use]
    pub fn on_line(line: u32, value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Number(whole),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(|item| Self::on_line(line, item)).collect()),
            Json::Object(entries) => Value::Map(
                entries.iter().map(|(key, value)| (key.clone(), Self::on_line(line, value))).collect(),
            ),
        };
        Self { line, key_line: line, value }
    }

    /// Returns the value without its lines.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => entries.iter().map(|(key, node)| (key.clone(), node.json())).collect(),
        }
    }

    /// Tells whether this is null.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Moves every line down by `lines`: the document begins there in its file.
    pub(crate) fn shift(&mut self, lines: u32) {
        self.line = self.line.saturating_add(lines);
        self.key_line = self.key_line.saturating_add(lines);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.shift(lines)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let line = u32::try_from(spanned.referenced.line()).unwrap_or(0);
        Ok(Self { line, key_line: line, value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "beyond any port or count")]
        let float = value as f64;
        Ok(i64::try_from(value).map_or(Value::Float(float), Value::Number))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(Key(key, line)) = access.next_key()? {
            let node: Node = access.next_value()?;
            entries.push((key, Node { key_line: line, ..node }));
        }
        Ok(Value::Map(entries))
    }
}

/// A mapping's key, whatever scalar it is, and its line.
struct Key(String, u32);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self(spanned.value, u32::try_from(spanned.referenced.line()).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_value_is_what_its_text_reads_as() {
        let value = serde_json::json!({
            "kind": "Service",
            "spec": {"ports": [{"port": 8080, "name": "http"}], "selector": {}, "ratio": 0.5, "far": u64::MAX},
            "none": null, "quoted": "true", "on": true,
        });
        let read: Node = serde_saphyr::from_str(&value.to_string()).unwrap();
        assert_eq!(Node::on_line(1, &value), read);
    }

    #[test]
    fn booleans_are_read_where_one_is_asked_for() {
        let read = |text: &str| crate::mesh::document::parse(text).unwrap();
        for (text, value) in [
            ("true", Some(true)),
            ("'true'", Some(true)),
            ("yes", Some(true)),
            ("On", Some(true)),
            ("false", Some(false)),
            ("OFF", Some(false)),
            ("n", Some(false)),
            ("1", None),
            ("web", None),
        ] {
            assert_eq!(read(&format!("field: {text}")).get("field").unwrap().bool(), value, "{text}");
        }
        // Elsewhere they are names, without quotes as well.
        for text in ["y", "n", "yes", "off"] {
            assert_eq!(read(&format!("{text}: {text}")).get(text).unwrap().scalar().as_deref(), Some(text));
        }
    }

    #[test]
    fn lines_and_kinds_are_kept() {
        let text = "spec:\n  mtls:\n    mode: STRICT\n  portLevelMtls:\n    8080:\n      mode: DISABLE\n  list:\n  - a\n  - 2\n  none:\n  yes: true\n  text: \"true\"\n";
        let node: Node = serde_saphyr::from_str(text).unwrap();
        let spec = node.get("spec").unwrap();
        assert_eq!(spec.at(&["mtls", "mode"]).unwrap().line, 3);
        let port = spec.at(&["portLevelMtls", "8080"]).unwrap();
        assert_eq!((port.key_line, port.line), (5, 6));
        assert_eq!(spec.at(&["portLevelMtls", "8080", "mode"]).unwrap().text(), Some("DISABLE"));
        assert_eq!(spec.at(&["portLevelMtls", "8080", "mode"]).unwrap().line, 6);
        assert_eq!(spec.get("list").unwrap().items()[1].number(), Some(2));
        assert_eq!(spec.get("list").unwrap().items()[1].line, 9);
        assert_eq!(spec.get("none"), None);
        assert_eq!(spec.get("text").unwrap().text(), Some("true"));
    }
}
