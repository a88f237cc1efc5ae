//! What our int8 operators do not run of a plan.

use std::collections::BTreeMap;
use std::fmt;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

use super::{ExecutionPlan, subgraph};

/// A plan with a larger share of its multiplications in floats is slow. Our recipes leave their attention to tract by
/// design, which is well below; a recipe in floats leaves everything.
const SHARE: f64 = 0.5;

/// Multiplications of one run, and how many of them tract runs, in floats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remainder {
    /// All of them.
    pub macs: u64,
    /// In floats.
    pub in_floats: u64,
    /// The operators that run these, by name, with how many there are of each.
    pub operators: BTreeMap<String, usize>,
    /// Why no int8 operator runs at all, if some were meant to.
    pub fallen_back: Option<String>,
}

impl Remainder {
    /// The sum over several plans.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.macs += other.macs;
        self.in_floats += other.in_floats;
        for (name, count) in other.operators {
            *self.operators.entry(name).or_default() += count;
        }
        self.fallen_back = self.fallen_back.or(other.fallen_back);
        self
    }

    /// Whether it takes several times as long as with int8 operators: they were refused, or run less than half of the
    /// multiplications.
    pub fn is_slow(&self) -> bool {
        self.fallen_back.is_some() || self.in_floats as f64 > SHARE * self.macs as f64
    }
}

/// As "416.5 of 416.5 M multiplications in floats (15 OptMatMul, 1 DirectSpatialConv)".
impl fmt::Display for Remainder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millions = |n: u64| n as f64 / 1e6;
        write!(f, "{:.1} of {:.1} M multiplications in floats", millions(self.in_floats), millions(self.macs))?;
        let operators: Vec<String> = self.operators.iter().map(|(name, count)| format!("{count} {name}")).collect();
        if !operators.is_empty() {
            write!(f, " ({})", operators.join(", "))?;
        }
        match &self.fallen_back {
            Some(why) => write!(f, ", since int8 operators cannot run it: {why}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan {
    /// What tract runs of it. Cost: one visit to each node.
    pub fn remainder(&self) -> Remainder {
        let model = self.runnable.model();
        let mut remainder =
            Remainder { fallen_back: self.fallen_back.as_deref().map(str::to_owned), ..Remainder::default() };
        for node in &model.nodes {
            let macs = model.node_input_facts(node.id).map_or(0, |facts| macs(node, &facts).0);
            remainder.macs += macs;
            if macs > 0 && node.op.name() != subgraph::NAME {
                remainder.in_floats += macs;
                *remainder.operators.entry(node.op.name().to_string()).or_default() += 1;
            }
        }
        remainder
    }
}

/// Multiplications of a node, and whether all of them are of 8-bit integers.
pub(super) fn macs(node: &TypedNode, facts: &[&TypedFact]) -> (u64, bool) {
    let costs = node.op.cost(facts).unwrap_or_default();
    let of = |(cost, count): &(Cost, TDim)| match cost {
        Cost::FMA(dt) => count.to_i64().ok().map(|n| (n.max(0) as u64, *dt == i8::datum_type())),
        _ => None,
    };
    let multiplied: Vec<(u64, bool)> = costs.iter().filter_map(of).collect();
    let is_int8 = !multiplied.is_empty() && multiplied.iter().all(|(_, is_int8)| *is_int8);
    (multiplied.iter().map(|(n, _)| n).sum(), is_int8)
}
