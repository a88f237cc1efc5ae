//! From a subgraph to what is run: weights packed for this processor, tensors laid into buffers.

use std::collections::HashMap;

use super::super::int8::Isa;
use super::super::ops::operator::{FusedOp, Slot};
use super::super::tensor::{DType, Hwc, TensorShape};
use super::fused::FusedSubgraph;
use super::run::{Boundary, Compiled, PlacedStep};

impl FusedSubgraph {
    /// Packs its weights for this processor and lays its tensors into buffers.
    ///
    /// # Errors
    /// When a shape does not fit, with the node's name.
    pub(super) fn compile(&self, inputs: &[TensorShape], isa: Isa) -> Result<Compiled, String> {
        let known = self.infer(inputs)?;
        let last: HashMap<&str, usize> =
            self.ops.iter().enumerate().flat_map(|(i, op)| op.x.iter().map(move |x| (x.as_str(), i))).collect();
        let is_output = |name: &str| self.outputs.iter().any(|o| o == name);
        let mut buffers = Buffers::default();
        let mut slots: HashMap<&str, Slot> = HashMap::new();
        for name in &self.inputs {
            slots.insert(name, buffers.slot(known[name.as_str()]));
        }
        let (mut steps, mut macs) = (Vec::new(), 0);
        for (i, op) in self.ops.iter().enumerate() {
            check_reads(op, &known)?;
            let x: Vec<Hwc> = op.x.iter().map(|x| known[x.as_str()].0.hwc).collect();
            let y = buffers.slot(known[op.y.as_str()]);
            slots.insert(&op.y, y);
            let step = op.op.compile(&x, isa).map_err(|e| format!("{}: {e}", op.name))?;
            macs += step.conv().map_or(0, |conv| conv.shape().macs());
            steps.push(PlacedStep { step, x: op.x.iter().map(|name| slots[name.as_str()]).collect(), y });
            let mut done: Vec<&str> = op.x.iter().map(String::as_str).collect();
            done.sort_unstable();
            done.dedup();
            let is_done = |name: &&str| known[name].1 != DType::F32 && last[name] == i && !is_output(name);
            for name in done.into_iter().filter(is_done) {
                buffers.free.push(slots[name].buffer);
            }
        }
        let boundary = |name: &String| {
            let (shape, dtype) = known[name.as_str()];
            Boundary { buffer: slots[name.as_str()].buffer, shape, dtype }
        };
        Ok(Compiled {
            steps,
            inputs: self.inputs.iter().map(boundary).collect(),
            outputs: self.outputs.iter().map(boundary).collect(),
            bytes: buffers.bytes,
            floats: buffers.floats,
            macs,
        })
    }
}

/// Whether an operator reads bytes where there are bytes, and floats where there are floats.
fn check_reads(op: &FusedOp, known: &HashMap<&str, (TensorShape, DType)>) -> Result<(), String> {
    let is_float = |dtype: DType| dtype == DType::F32;
    let wrong = op.x.iter().enumerate().find(|(at, x)| is_float(op.op.input(*at)) != is_float(known[x.as_str()].1));
    match wrong {
        Some((_, x)) => Err(format!("{}: `{x}` is read as bytes and as floats", op.name)),
        None => Ok(()),
    }
}

/// Buffers of bytes, reused as soon as nobody needs what is in them, and of floats.
#[derive(Default)]
struct Buffers {
    /// How long each is.
    bytes: Vec<usize>,
    /// Which of those of bytes are free.
    free: Vec<usize>,
    floats: Vec<usize>,
}

impl Buffers {
    /// A place for a tensor.
    fn slot(&mut self, (shape, dtype): (TensorShape, DType)) -> Slot {
        let len = shape.len();
        let buffer = match dtype {
            DType::F32 => {
                self.floats.push(len);
                self.floats.len() - 1
            }
            DType::U8 | DType::I8 => self.take(len),
        };
        Slot { buffer, len }
    }

    /// The free buffer of bytes that has to grow least.
    fn take(&mut self, bytes: usize) -> usize {
        let best = (0..self.free.len()).min_by_key(|&i| self.bytes[self.free[i]].abs_diff(bytes));
        let Some(i) = best else {
            self.bytes.push(bytes);
            return self.bytes.len() - 1;
        };
        let buffer = self.free.swap_remove(i);
        self.bytes[buffer] = self.bytes[buffer].max(bytes);
        buffer
    }
}
