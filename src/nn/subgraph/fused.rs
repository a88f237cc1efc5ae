//! A subgraph as it was found, before its shapes are known.

use std::collections::{HashMap, HashSet};

use super::super::ops::operator::FusedOp;
use super::super::tensor::{DType, TensorShape};

/// Operators that run as one; `outputs` are read outside of it.
#[derive(Debug)]
pub(in super::super) struct FusedSubgraph {
    pub(in super::super) name: String,
    pub(in super::super) inputs: Vec<String>,
    /// Each after those that it reads.
    pub(in super::super) ops: Vec<FusedOp>,
    pub(in super::super) outputs: Vec<String>,
}

impl FusedSubgraph {
    /// Its boundary: the inputs of `ops` that none of them makes, and those of their results that `leave` it.
    pub(in super::super) fn of(ops: Vec<FusedOp>, leaves: impl Fn(&str) -> bool) -> Self {
        let made: HashSet<&String> = ops.iter().map(|op| &op.y).collect();
        let mut inputs: Vec<String> = Vec::new();
        for x in ops.iter().flat_map(|op| &op.x) {
            if !made.contains(x) && !inputs.contains(x) {
                inputs.push(x.clone());
            }
        }
        let outputs: Vec<String> = ops.iter().map(|op| &op.y).filter(|y| leaves(y)).cloned().collect();
        let name = format!("{}.region", ops[0].name);
        Self { name, inputs, ops, outputs }
    }

    /// Shapes of its inputs and of all tensors that it makes, and what they hold.
    ///
    /// # Errors
    /// When a shape does not fit, with the node's name.
    pub(super) fn infer(&self, inputs: &[TensorShape]) -> Result<HashMap<&str, (TensorShape, DType)>, String> {
        let mut known: HashMap<&str, (TensorShape, DType)> =
            self.inputs.iter().zip(inputs).map(|(name, &shape)| (name.as_str(), (shape, self.read(name)))).collect();
        for op in &self.ops {
            let x: Vec<TensorShape> = op.x.iter().map(|x| known[x.as_str()].0).collect();
            known.insert(&op.y, (op.infer(&x)?, op.op.output()));
        }
        Ok(known)
    }

    /// As what an input is read.
    fn read(&self, name: &str) -> DType {
        let at = |op: &FusedOp| Some(op.op.input(op.x.iter().position(|x| x == name)?));
        self.ops.iter().find_map(at).unwrap_or(DType::U8)
    }
}
