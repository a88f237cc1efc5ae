//! How long each node of a plan takes.

use std::time::{Duration, Instant};

use tract_onnx::prelude::*;

use super::slow::macs;
use super::{ExecutionPlan, Running, failed, filled, pool, subgraph};
use crate::error::Result;

/// One node of a plan, as it was run.
#[derive(Clone, Debug)]
pub struct NodeTime {
    /// Its name.
    pub name: String,
    /// What runs it.
    pub operator: String,
    /// If it stands for several of the file's nodes: how many operators of each kind it holds.
    pub holds: Option<String>,
    /// Its output's type and shape.
    pub output: String,
    /// Multiplications of one run.
    pub macs: u64,
    /// Whether they are those of 8-bit integers.
    pub is_int8: bool,
    /// The shortest of several runs.
    pub time: Duration,
}

impl Running {
    /// Runs `input` several times and returns how long each node took, without tract's own work between nodes.
    ///
    /// # Errors
    /// As [`Running::run`].
    pub fn profile(&mut self, plan: &ExecutionPlan, input: &[u8], runs: usize) -> Result<Vec<NodeTime>> {
        let model = plan.runnable.model();
        let mut times = vec![Duration::MAX; model.nodes.len()];
        let mut one = || -> TractResult<()> {
            let inputs = filled(&mut self.input, self.at.as_mut(), input, [0, 0])?;
            self.state.run_plan_with_eval(inputs, |context, state, node, inputs| {
                let start = Instant::now();
                let outputs = tract_onnx::tract_core::plan::eval(context, state, node, inputs);
                times[node.id] = times[node.id].min(start.elapsed());
                outputs
            })?;
            Ok(())
        };
        for _ in 0..runs.max(1) {
            pool::run(self.pool.as_deref(), &mut one).map_err(|e| failed("the model", e))?;
        }
        let described = |node: &TypedNode| -> TractResult<NodeTime> {
            let facts = model.node_input_facts(node.id)?;
            let (macs, is_int8) = macs(node, &facts);
            Ok(NodeTime {
                name: node.name.clone(),
                operator: node.op.name().to_string(),
                holds: (node.op.name() == subgraph::NAME).then(|| node.op.info().ok()?.pop()).flatten(),
                output: node.outputs.first().map(|o| format!("{:?}", o.fact)).unwrap_or_default(),
                macs,
                is_int8,
                time: times[node.id],
            })
        };
        let is_run = |node: &&TypedNode| times[node.id] != Duration::MAX;
        model.nodes.iter().filter(is_run).map(described).collect::<TractResult<_>>().map_err(|e| failed("the model", e))
    }
}
