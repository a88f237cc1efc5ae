//! Shapes of tensors, before anything is planned.

use std::collections::HashSet;

use tract_onnx::pb::{
    GraphProto, ModelProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension,
    tensor_shape_proto::dimension, type_proto,
};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid as _;
use tract_onnx::tract_hir::internal::DimLike as _;

use super::super::graph_view::Shapes;

/// Constants with more elements are weights; shapes, axes and bounds are smaller.
const SMALL: i64 = 64;

/// Shapes of all tensors that follow from those of the first inputs.
///
/// # Errors
/// When the graph contradicts itself; planning it reports that again.
pub(super) fn of(model: &ModelProto, inputs: &[InferenceFact]) -> TractResult<Shapes> {
    let mut model = tract_onnx::onnx().with_ignore_output_shapes(true).parse(&without_weights(model), None)?.model;
    inputs.iter().enumerate().try_for_each(|(i, fact)| model.set_input_fact(i, fact.clone()))?;
    model.analyse(false)?;
    let shape = |(outlet, name): (&OutletId, &String)| {
        let dims = model.outlet_fact(*outlet).ok()?.shape.concretize()?;
        let dims = dims.iter().map(|d| d.to_usize().ok()).collect::<Option<Vec<usize>>>()?;
        Some((name.clone(), dims))
    };
    Ok(model.outlet_labels.iter().filter_map(shape).collect())
}

/// The same graph with quantised weights as further inputs: tract would dequantise constants here only to throw them away,
/// at five times the cost of planning.
fn without_weights(model: &ModelProto) -> ModelProto {
    let Some(graph) = &model.graph else { return model.clone() };
    let is_dequantised = |n: &&tract_onnx::pb::NodeProto| n.op_type == "DequantizeLinear";
    let weights: HashSet<&String> = graph.node.iter().filter(is_dequantised).filter_map(|n| n.input.first()).collect();
    let is_weight = |t: &&TensorProto| weights.contains(&t.name) && t.dims.iter().product::<i64>() > SMALL;
    let (large, small): (Vec<&TensorProto>, Vec<&TensorProto>) = graph.initializer.iter().partition(is_weight);
    let known: HashSet<&String> = large.iter().map(|t| &t.name).collect();
    // Older exporters list constants among the inputs.
    let inputs = graph.input.iter().filter(|i| !known.contains(&i.name)).cloned();
    let graph = GraphProto {
        node: graph.node.clone(),
        input: inputs.chain(large.into_iter().map(described)).collect(),
        output: graph.output.clone(),
        initializer: small.into_iter().cloned().collect(),
        name: graph.name.clone(),
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// Name, type and shape of a tensor.
fn described(tensor: &TensorProto) -> ValueInfoProto {
    let dim = |&d: &i64| Dimension { value: Some(dimension::Value::DimValue(d)), ..Dimension::default() };
    let shape = TensorShapeProto { dim: tensor.dims.iter().map(dim).collect() };
    let tensor_type = type_proto::Tensor { elem_type: tensor.data_type, shape: Some(shape) };
    let value = type_proto::Value::TensorType(tensor_type);
    let r#type = TypeProto { value: Some(value), ..TypeProto::default() };
    ValueInfoProto { name: tensor.name.clone(), r#type: Some(r#type), ..ValueInfoProto::default() }
}
