//! Attributes of nodes.

use tract_onnx::pb::NodeProto;

pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.i)
}

pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.f)
}

pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    node.attribute.iter().find(|a| a.name == name).map(|a| &a.ints[..])
}

/// A string attribute, unless it is empty or says that it is not set.
pub(super) fn string<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [u8]> {
    let text = node.attribute.iter().find(|a| a.name == name).map(|a| &a.s[..])?;
    (!text.is_empty() && text != b"NOTSET").then_some(text)
}

/// Two sizes, or the default twice.
pub(super) fn pair(node: &NodeProto, name: &str, default: usize) -> Option<[usize; 2]> {
    let Some(values) = ints(node, name) else { return Some([default; 2]) };
    let values: Vec<usize> = values.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<_>>()?;
    values.try_into().ok()
}

/// Pads as ONNX orders them: top, left, bottom, right.
pub(super) fn pads(node: &NodeProto) -> Option<[usize; 4]> {
    let Some(values) = ints(node, "pads") else { return Some([0; 4]) };
    let values: Vec<usize> = values.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<_>>()?;
    values.try_into().ok()
}
