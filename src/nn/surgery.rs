//! Graph surgery: the part that leads to a tensor, the part that follows from one, constants taken out and put in.

use std::collections::HashSet;

use tract_onnx::pb::{ModelProto, TensorProto};

use super::onnx::{self, Elem, Graph, QuantParams};

/// A file's graph, to be extended; its metadata is dropped.
pub fn graph(model: ModelProto) -> Graph {
    let graph = model.graph.unwrap_or_default();
    Graph {
        nodes: graph.node,
        initializers: graph.initializer,
        inputs: graph.input,
        outputs: graph.output,
        is_float: false,
    }
}

/// Takes a constant's bytes out of a file.
pub fn take(model: &mut ModelProto, name: &str) -> Option<Vec<u8>> {
    let constants = &mut model.graph.as_mut()?.initializer;
    let at = constants.iter().position(|t| t.name == name)?;
    Some(constants.remove(at).raw_data)
}

/// A constant of a file.
pub fn constant<'a>(model: &'a ModelProto, name: &str) -> Option<&'a TensorProto> {
    model.graph.as_ref()?.initializer.iter().find(|t| t.name == name)
}

impl Graph {
    /// What `tensors` depend on, and nothing else; without declared outputs.
    pub fn up_to(&self, tensors: &[String]) -> Self {
        self.kept(&onnx::needed(&self.nodes, tensors), self.inputs.clone())
    }

    /// What follows from `tensor`, which becomes the first input; without declared outputs.
    pub fn behind(&self, tensor: &str, elem: Elem, shape: &[usize]) -> Self {
        let before = onnx::needed(&self.nodes, &[tensor.to_owned()]);
        let after: Vec<bool> = before.iter().map(|b| !b).collect();
        let mut input = Self::default();
        input.input(tensor, elem, shape);
        let used = |name: &String| self.nodes.iter().zip(&after).any(|(n, is_kept)| *is_kept && n.input.contains(name));
        input.inputs.extend(self.inputs.iter().filter(|i| used(&i.name)).cloned());
        self.kept(&after, input.inputs)
    }

    fn kept(&self, keep: &[bool], inputs: Vec<tract_onnx::pb::ValueInfoProto>) -> Self {
        let nodes: Vec<_> = self.nodes.iter().zip(keep).filter(|(_, k)| **k).map(|(n, _)| n.clone()).collect();
        let used: HashSet<&str> = nodes.iter().flat_map(|n| &n.input).map(String::as_str).collect();
        let initializers = self.initializers.iter().filter(|t| used.contains(t.name.as_str())).cloned().collect();
        Self { nodes, initializers, inputs, outputs: Vec::new(), is_float: self.is_float }
    }

    /// Scale and zero point of a tensor that [`Graph::fake_quantize`] made; `None` if it did not.
    pub fn grid_of(&self, tensor: &str) -> Option<QuantParams> {
        let constant = |end: &str| self.initializers.iter().find(|t| t.name == format!("{tensor}.{end}"));
        let scale = *onnx::floats(constant("scale")?).ok()?.first()?;
        let zero_point = *constant("zero")?.raw_data.first()?;
        Some(QuantParams { scale, zero_point })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_falls_into_what_leads_to_a_tensor_and_what_follows() {
        let mut g = Graph::default();
        g.input("image", Elem::U8, &[1, 3, 4, 4]);
        let half = g.f32("half", &[], &[0.5]);
        let a = g.node("Mul", &["image", &half], "a", &[]);
        g.fake_quantize(&a, QuantParams { scale: 0.25, zero_point: 7 }, "x");
        let two = g.f32("two", &[], &[2.0]);
        g.node("Mul", &["x", &two], "old", &[]);
        g.output("old", Elem::F32, &[1, 3, 4, 4]);
        g.bytes("kept", vec![1, 2, 3]);
        let mut model = g.into_model("g", &[]);
        assert_eq!(take(&mut model, "kept"), Some(vec![1, 2, 3]));
        assert_eq!(take(&mut model, "kept"), None);

        let g = graph(model);
        assert_eq!(g.grid_of("x"), Some(QuantParams { scale: 0.25, zero_point: 7 }));
        assert_eq!(g.grid_of("a"), None);
        let names = |g: &Graph| g.nodes.iter().map(|n| n.output[0].clone()).collect::<Vec<_>>();
        let constants = |g: &Graph| g.initializers.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
        let up = g.up_to(&["x.q".to_owned()]);
        assert_eq!(
            (names(&up), constants(&up)),
            (vec!["a".into(), "x.q".into()], vec!["half".into(), "x.scale".into(), "x.zero".into()])
        );
        assert_eq!((up.inputs.len(), up.outputs.len()), (1, 0));
        let behind = g.behind("x.q", Elem::U8, &[1, 3, 4, 4]);
        assert_eq!(names(&behind), ["x", "old"]);
        assert!(behind.inputs[0].name == "x.q" && !constants(&behind).contains(&"half".to_owned()));
    }
}
