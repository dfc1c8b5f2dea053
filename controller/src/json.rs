//! Reading fields of JSON objects as leniently as the original API does, but naming the field that cannot be read.
//!
//! Integers may be numbers, decimal strings or booleans; booleans may be numbers or strings (VL2 §5.7). A value of any other kind is
//! refused with the name of its field, so that a request is either taken whole or not at all.

use std::fmt;

use serde_json::Value;

/// A request that cannot be carried out, in words for the person who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(String);

impl Invalid {
    pub(crate) fn new(field: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self(format!("{field}: {reason}"))
    }

    /// The same complaint about a field inside `outer`.
    pub(crate) fn within(self, outer: impl fmt::Display) -> Self {
        Self(format!("{outer}.{}", self.0))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// The largest array that a request may carry (VL2 §5.2).
const MAX_ELEMENTS: usize = 16_384;

/// A boolean, or `None` when the value is no boolean in any of the accepted spellings.
pub(crate) fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => Some(n.as_f64()? > 0.0),
        Value::String(s) => match s.bytes().next() {
            Some(b't' | b'T' | b'1') => Some(true),
            _ => Some(false),
        },
        _ => None,
    }
}

/// An unsigned integer, or `None` when the value is none in any of the accepted spellings.
pub(crate) fn as_u64(value: &Value) -> Option<u64> {
    match value {
        Value::Bool(b) => Some(u64::from(*b)),
        Value::Number(n) => n.as_u64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

/// An unsigned integer of at most 32 bits.
pub(crate) fn as_u32(value: &Value) -> Option<u32> {
    as_u64(value)?.try_into().ok()
}

/// Reads `field` of `object` with `read` when it is there.
pub(crate) fn optional<T>(
    object: &Value,
    field: &str,
    expected: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, Invalid> {
    match object.get(field) {
        None => Ok(None),
        Some(value) => read(value)
            .map(Some)
            .ok_or_else(|| Invalid::new(field, format_args!("{expected} expected, not {value}"))),
    }
}

/// A boolean field, when it is there.
pub(crate) fn bool_field(object: &Value, field: &str) -> Result<Option<bool>, Invalid> {
    optional(object, field, "true or false", as_bool)
}

/// An unsigned integer field, when it is there.
pub(crate) fn u64_field(object: &Value, field: &str) -> Result<Option<u64>, Invalid> {
    optional(object, field, "a whole number", as_u64)
}

/// A text field, when it is there.
pub(crate) fn text_field(object: &Value, field: &str) -> Result<Option<String>, Invalid> {
    optional(object, field, "text", |value| {
        value.as_str().map(str::to_owned)
    })
}

/// An array field, when it is there. `null` counts as an empty array.
pub(crate) fn array_field<'v>(
    object: &'v Value,
    field: &str,
) -> Result<Option<&'v [Value]>, Invalid> {
    match object.get(field) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(&[])),
        Some(Value::Array(elements)) if elements.len() <= MAX_ELEMENTS => Ok(Some(elements)),
        Some(Value::Array(_)) => Err(Invalid::new(
            field,
            format_args!("more than {MAX_ELEMENTS} elements"),
        )),
        Some(value) => Err(Invalid::new(
            field,
            format_args!("an array expected, not {value}"),
        )),
    }
}

/// An array field read element by element; the complaint names the element.
pub(crate) fn elements<T>(
    object: &Value,
    field: &str,
    read: impl Fn(&Value) -> Result<T, Invalid>,
) -> Result<Option<Vec<T>>, Invalid> {
    let Some(array) = array_field(object, field)? else {
        return Ok(None);
    };
    let read_one = |(index, element)| {
        read(element).map_err(|invalid| invalid.within(format_args!("{field}[{index}]")))
    };
    array
        .iter()
        .enumerate()
        .map(read_one)
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_and_booleans_are_read_in_every_accepted_spelling() {
        for (value, expected) in [
            (json!(7), Some(7)),
            (json!("7"), Some(7)),
            (json!(true), Some(1)),
            (json!(-1), None),
            (json!([]), None),
        ] {
            assert_eq!(as_u64(&value), expected, "{value}");
        }
        for (value, expected) in [
            (json!(true), Some(true)),
            (json!(1), Some(true)),
            (json!(0), Some(false)),
            (json!("True"), Some(true)),
            (json!("no"), Some(false)),
            (json!({}), None),
        ] {
            assert_eq!(as_bool(&value), expected, "{value}");
        }
    }

    #[test]
    fn the_complaint_names_the_field() {
        let complaint = elements(&json!({"tags": [1, "x"]}), "tags", |v| {
            as_u32(v).ok_or_else(|| Invalid::new("id", "no number"))
        })
        .unwrap_err();
        assert_eq!(complaint.to_string(), "tags[1].id: no number");
    }
}
