//! Concatenations: what lies between a stored tensor and its place among others.

use super::super::{Branch, Fused, FusedStack, Grid, Op};
use super::View;
use super::attributes::{int, pads, pair, string};

impl View<'_> {
    pub(super) fn stack(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        if int(node, "axis", 0) != 1 {
            return None;
        }
        let closing = self.closing(&node.output[0])?;
        if !closing.is_open() {
            return None;
        }
        let mut nodes = closing.nodes;
        let (mut x, mut branches) = (Vec::new(), Vec::new());
        for input in &node.input {
            let (stored, branch, of) = self.branch(input)?;
            x.push(stored);
            branches.push(branch);
            nodes.extend(of);
        }
        Some(self.made(i, x, closing.y, Op::Stack(FusedStack { branches, y: closing.grid }), nodes))
    }

    /// What one input of a concatenation is made of, from its end to its beginning.
    fn branch(&self, tensor: &str) -> Option<(String, Branch, Vec<usize>)> {
        let (mut at, mut nodes) = (tensor, Vec::new());
        let mut branch =
            Branch { x: Grid { scale: 1.0, zero: 0, is_signed: false }, window: [1, 1], gain: Vec::new(), repeat: 1 };
        loop {
            if let Some((stored, grid)) = self.stored(at) {
                branch.x = grid;
                return Some((stored, branch, nodes));
            }
            let m = *self.maker.get(at)?;
            let n = &self.nodes[m];
            if !self.is_alone(at) {
                return None;
            }
            match n.op_type.as_str() {
                // In this order alone: what comes later in the graph comes first here.
                "Resize" if branch.gain.is_empty() && branch.window == [1, 1] && branch.repeat == 1 => {
                    branch.repeat = self.repeats(n)?;
                }
                "Mul" if branch.gain.is_empty() && branch.window == [1, 1] => {
                    branch.gain = self.floats(n.input.get(1)?)?;
                    let dims = &self.constants.get(n.input[1].as_str())?.dims;
                    if dims.iter().filter(|&&d| d != 1).count() > 1
                        || dims.len() < 3
                        || dims[dims.len() - 3] != branch.gain.len() as i64
                    {
                        return None;
                    }
                }
                "AveragePool" if branch.window == [1, 1] => {
                    let [height, width] = pair(n, "kernel_shape", 0)?;
                    let around = [height / 2, width / 2, height / 2, width / 2];
                    let is_plain =
                        height % 2 == 1 && width % 2 == 1 && pads(n)? == around && pair(n, "strides", 1)? == [1, 1];
                    let is_ours = is_plain && pair(n, "dilations", 1)? == [1, 1] && int(n, "count_include_pad", 0) == 0;
                    if !is_ours || string(n, "auto_pad").is_some() || int(n, "ceil_mode", 0) != 0 {
                        return None;
                    }
                    branch.window = [height, width];
                }
                _ => return None,
            }
            nodes.push(m);
            at = n.input[0].as_str();
        }
    }
}
