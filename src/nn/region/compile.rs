//! From a region to what is run: weights packed for this processor, tensors laid into buffers.

use std::collections::HashMap;

use super::super::fusion::{Becomes, Fused, Op, Region};
use super::super::int8::{Conv, Isa};
use super::form::{Form, Shape, Stored, conv_shape};
use super::steps::{Add, AveragePool, MaxPool, Mean, Moment, Mul, Resize, Squares, Stack, Store};
use super::{Border, Compiled, Kind, Step};

impl Region {
    /// Forms of all tensors that it makes, for these of its inputs.
    pub(super) fn forms(&self, inputs: &[Form]) -> Result<HashMap<&str, (Form, Stored)>, String> {
        let mut forms: HashMap<&str, (Form, Stored)> =
            self.inputs.iter().zip(inputs).map(|(name, &form)| (name.as_str(), (form, Stored::Unsigned))).collect();
        for step in &self.steps {
            let x: Vec<Form> = step.x.iter().map(|x| forms[x.as_str()].0).collect();
            forms.insert(&step.y, (step.form(&x)?, step.stored()));
        }
        Ok(forms)
    }

    /// Packs its weights for this processor and lays its tensors into buffers.
    ///
    /// # Errors
    /// When a shape does not fit, with the node's name.
    pub(super) fn compile(&self, inputs: &[Form], isa: Isa) -> Result<Compiled, String> {
        let forms = self.forms(inputs)?;
        let mut buffers = Buffers::default();
        let mut floats = Vec::new();
        let mut place: HashMap<&str, usize> = HashMap::new();
        let last: HashMap<&str, usize> =
            self.steps.iter().enumerate().flat_map(|(i, s)| s.x.iter().map(move |x| (x.as_str(), i))).collect();
        let is_output = |name: &str| self.outputs.iter().any(|o| o == name);
        for (name, form) in self.inputs.iter().zip(inputs) {
            let size = form.shape.iter().product();
            let at = if self.read(name) == Stored::Float {
                floats.push(size);
                floats.len() - 1
            } else {
                buffers.take(size)
            };
            place.insert(name, at);
        }
        let (mut steps, mut macs) = (Vec::new(), 0);
        for (i, fused) in self.steps.iter().enumerate() {
            let x: Vec<Shape> = fused.x.iter().map(|x| forms[x.as_str()].0.shape).collect();
            let (form, _) = forms[fused.y.as_str()];
            let size: usize = form.shape.iter().product();
            let y = if fused.makes_bytes() {
                buffers.take(size)
            } else {
                floats.push(size);
                floats.len() - 1
            };
            place.insert(&fused.y, y);
            let kind = self.kind(fused, &x, isa)?;
            macs += kind.conv().map_or(0, |conv| conv.shape().macs());
            let read = fused.x.iter().zip(&x).map(|(name, s)| (place[name.as_str()], s.iter().product())).collect();
            steps.push(Step { kind, x: read, y: (y, size) });
            let mut done: Vec<&str> = fused.x.iter().map(String::as_str).collect();
            done.sort_unstable();
            done.dedup();
            let is_done = |name: &&str| fused.reads_bytes() && last[name] == i && !is_output(name);
            for name in done.into_iter().filter(is_done) {
                buffers.free(place[name]);
            }
        }
        let exit = |name: &String| {
            let (form, stored) = forms[name.as_str()];
            Border { buffer: place[name.as_str()], form, stored }
        };
        let entry =
            |(name, &form): (&String, &Form)| Border { buffer: place[name.as_str()], form, stored: self.read(name) };
        Ok(Compiled {
            steps,
            inputs: self.inputs.iter().zip(inputs).map(entry).collect(),
            outputs: self.outputs.iter().map(exit).collect(),
            bytes: buffers.bytes,
            floats,
            macs,
        })
    }

    /// As what an input is read.
    fn read(&self, name: &str) -> Stored {
        let at = |s: &Fused| Some(s.read(s.x.iter().position(|x| x == name)?));
        self.steps.iter().find_map(at).unwrap_or(Stored::Unsigned)
    }

    fn kind(&self, fused: &Fused, x: &[Shape], isa: Isa) -> Result<Kind, String> {
        Ok(match &fused.op {
            Op::Add(add) => Kind::Add(Add::new(add, isa)),
            Op::Mul(mul) => Kind::Mul(Mul::new(mul, x, isa)),
            Op::MaxPool(pool) => Kind::MaxPool(MaxPool::new(pool, x[0])),
            Op::Average(pool) => Kind::AveragePool(AveragePool::new(pool, x[0], isa)),
            Op::Resize(resize) => Kind::Resize(Resize::new(resize, x[0], isa)),
            Op::Table(table) => Kind::Table(Box::new(table.table)),
            Op::Mean(mean) => Kind::Mean(Mean::new(mean, x[0], isa)),
            Op::Moment(moment) => Kind::Moment(Moment::new(moment, x[0], isa)),
            Op::Store(store) => Kind::Store(Store::new(store, isa)),
            Op::Squares(squares) => Kind::Squares(Squares::new(squares, x[0], isa)),
            Op::Stack(stack) => Kind::Stack(Stack::new(stack, x, isa)),
            Op::Conv(conv) => {
                let parts: Vec<&[i8]> = conv.parts.iter().map(Vec::as_slice).collect();
                let packed = Conv::of_parts(conv_shape(conv, x[0]), &parts, &conv.bias, conv.x.zero, isa)
                    .map_err(|e| format!("{}: {e}", fused.name))?;
                let negated = |v: &[f32]| v.iter().map(|v| -v).collect::<Vec<f32>>();
                match &conv.becomes {
                    Becomes::Bytes { scale, grid, low, high } => {
                        Kind::Bytes { conv: packed, scale: scale.clone(), zero: grid.zero, low: *low, high: *high }
                    }
                    Becomes::Floats { scale, bias } => {
                        Kind::Floats { conv: packed, scale: scale.clone(), bias: bias.clone() }
                    }
                    Becomes::Greatest { scale, bias } => {
                        Kind::Greatest { conv: packed, scale: negated(scale), bias: negated(bias) }
                    }
                }
            }
        })
    }
}

/// Buffers of bytes, reused as soon as nobody needs what is in them.
#[derive(Default)]
struct Buffers {
    bytes: Vec<usize>,
    free: Vec<usize>,
}

impl Buffers {
    /// The free buffer that has to grow least.
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

    fn free(&mut self, buffer: usize) {
        self.free.push(buffer);
    }
}
