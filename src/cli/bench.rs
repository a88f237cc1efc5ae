//! `zoomgate bench`: how long a model takes on this machine, and where the time goes.

mod pixels;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::output::print_json;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::recipe::{KEEPSAKE_KEY, METADATA_KEY, Recipe};
use crate::nn::int8::Isa;
use crate::nn::onnx::{self, Elem};
use crate::nn::plan::{Engine, ExecutionPlan, NodeTime, Running};
use crate::nn::pool::ThreadPool;
use crate::nn::{ModelProto, surgery};
use crate::stats;
use crate::storage;

/// Arguments of `zoomgate bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A recipe, of which both passes are timed, or another ONNX model with one picture as its input.
    #[arg(value_name = "FILE.onnx", required_unless_present = "pixels")]
    pub model: Option<PathBuf>,
    /// Height and width of the input of a model that does not say them.
    #[arg(long, num_args = 2, value_names = ["H", "W"])]
    pub size: Option<Vec<usize>>,
    /// Times each pass so often, after two runs to warm up.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub runs: u16,
    /// List every node, what runs it and how long it takes.
    #[arg(long)]
    pub explain: bool,
    /// Time the engine without our int8 operators as well, in turn with ours.
    #[arg(long)]
    pub stock: bool,
    /// What is timed: our int8 operators beside the engine, or the engine alone.
    #[arg(long, value_enum, default_value = "int8")]
    pub engine: Choice,
    /// The one pass of a recipe that is timed.
    #[arg(long, value_name = "full|zoom")]
    pub pass: Option<String>,
    /// How many threads share a run, as `[model] threads` has it.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub threads: u8,
    /// Run each pass N times and do nothing else, for whoever counts from outside: neither warm-up nor report.
    #[arg(long, conflicts_with_all = ["stock", "explain", "json"])]
    pub plain: bool,
    /// Time what comes before the model instead: raw frames to RGB, views to the model's input, levels.
    #[arg(long, conflicts_with_all = ["model", "explain", "stock", "engine", "pass", "plain"])]
    pub pixels: bool,
    /// Print one JSON object on stdout and nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// What runs quantised operators.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Choice {
    /// Our int8 operators.
    Int8,
    /// tract's own.
    Stock,
}

impl From<Choice> for Engine {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Int8 => Self::Int8,
            Choice::Stock => Self::Stock,
        }
    }
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    model: String,
    /// The instruction set of the int8 operators.
    isa: String,
    passes: Vec<Pass>,
}

#[derive(Serialize)]
struct Pass {
    name: String,
    /// From the file's graph to the end of the first run.
    first_ms: f64,
    median_ms: f64,
    least_ms: f64,
    /// Median of the stock engine, in the same minutes.
    stock_ms: Option<f64>,
    /// Multiplications, and those of them that our int8 operators do.
    macs: u64,
    int8_macs: u64,
    /// Why no int8 operator runs, where some were meant to.
    fallen_back: Option<String>,
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    name: String,
    operator: String,
    /// What a fused subgraph is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<String>,
    output: String,
    macs: u64,
    ms: f64,
}

/// Times a model, or what comes before it, and prints the result.
///
/// # Errors
/// When the file is missing, damaged, or no model with one picture as its input.
pub fn run(args: &Args) -> Result<()> {
    let Some(path) = &args.model else {
        return pixels::run(args);
    };
    let origin = path.display().to_string();
    let bytes = storage::read_bounded(path, "read the model", onnx::BYTES_MAX)?;
    let mut model = onnx::decode(&bytes, &origin)?;
    surgery::take(&mut model, KEEPSAKE_KEY);
    let mut what = Timed::of(&model, args, &origin)?;
    if let Some(pass) = &args.pass {
        what.passes.retain(|(name, _)| name == pass);
        if what.passes.is_empty() {
            return Err(Error::new(ErrorKind::Refused, format!("{origin} has no pass {pass}")));
        }
    }
    if args.plain {
        return what.passes.iter().try_for_each(|(_, outputs)| what.only_run(&model, outputs, args, &origin));
    }
    let passes = what.passes.iter().map(|(name, outputs)| what.time(&model, name, outputs, args, &origin));
    let report = Report {
        schema: 1,
        model: origin.clone(),
        isa: format!("{:?}", Isa::best()).to_lowercase(),
        passes: passes.collect::<Result<_>>()?,
    };
    if args.json {
        return print_json(&report);
    }
    println!("{origin}: int8 operators for {}", report.isa);
    for pass in &report.passes {
        pass.print(args);
    }
    Ok(())
}

/// What is timed: passes with their outputs, all on one input.
struct Timed {
    shape: [usize; 4],
    elem: Elem,
    passes: Vec<(String, Vec<String>)>,
}

impl Timed {
    fn of(model: &ModelProto, args: &Args, origin: &str) -> Result<Self> {
        if let Some(notes) = onnx::metadata(model, METADATA_KEY) {
            let recipe = Recipe::parse(notes, origin)?;
            let pass = |v: &str| (v.to_owned(), vec![format!("{v}_map"), format!("{v}_score")]);
            let shape = [1, 3, recipe.input.height, recipe.input.width];
            return Ok(Self { shape, elem: Elem::U8, passes: vec![pass("full"), pass("zoom")] });
        }
        let refused = |message: String| Error::new(ErrorKind::Refused, message);
        let (dims, elem, outputs) = onnx::interface(model).ok_or_else(|| {
            refused(format!("{origin} does not have one input of bytes or floats: give a model that takes one picture"))
        })?;
        let [_, channels, height, width] = dims[..] else {
            return Err(refused(format!("the input of {origin} has {} dimensions instead of N, C, H, W", dims.len())));
        };
        let given = |at: usize, dim: Option<usize>| args.size.as_ref().map(|s| s[at]).or(dim);
        let (Some(height), Some(width)) = (given(0, height), given(1, width)) else {
            return Err(refused(format!("{origin} does not say its input's size: give --size H W")));
        };
        let shape = [1, channels.unwrap_or(3), height, width];
        if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n == 0 || n > 1 << 28) {
            return Err(refused(format!("an input of {height} x {width} is none that this machine can hold")));
        }
        Ok(Self { shape, elem, passes: vec![("model".into(), outputs)] })
    }

    /// Any picture.
    fn input(&self) -> Vec<u8> {
        let pixels = 0..self.shape.iter().product::<usize>() as u32;
        pixels.map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
    }

    fn only_run(&self, model: &ModelProto, outputs: &[String], args: &Args, origin: &str) -> Result<()> {
        let plan = ExecutionPlan::with(args.engine.into(), model, self.shape, self.elem, outputs, origin)?;
        let (mut running, input) =
            (plan.spawn()?.with_pool(ThreadPool::with_threads(args.threads.into())?), self.input());
        (0..args.runs).try_for_each(|_| running.run(&input).map(drop))
    }

    fn time(&self, model: &ModelProto, name: &str, outputs: &[String], args: &Args, origin: &str) -> Result<Pass> {
        let input = self.input();
        let start = Instant::now();
        let plan = ExecutionPlan::with(args.engine.into(), model, self.shape, self.elem, outputs, origin)?;
        let mut ours = plan.spawn()?.with_pool(ThreadPool::with_threads(args.threads.into())?);
        ours.run(&input)?;
        let first = start.elapsed();
        let mut stock = match args.stock {
            true => Some(ExecutionPlan::with(Engine::Stock, model, self.shape, self.elem, outputs, origin)?.spawn()?),
            false => None,
        };
        let (mut times, mut stock_times) = (Vec::new(), Vec::new());
        for i in 0..args.runs + 2 {
            let timed = |running: &mut Running, times: &mut Vec<Duration>| -> Result<()> {
                let start = Instant::now();
                running.run(&input)?;
                if i >= 2 {
                    times.push(start.elapsed());
                }
                Ok(())
            };
            timed(&mut ours, &mut times)?;
            if let Some(stock) = &mut stock {
                timed(stock, &mut stock_times)?;
            }
        }
        let nodes = ours.profile(&plan, &input, args.runs.into())?;
        let median = |times: &mut [Duration]| stats::upper_median(times).map(ms);
        let sum = |keep: &dyn Fn(&&NodeTime) -> bool| nodes.iter().filter(keep).map(|n| n.macs).sum();
        Ok(Pass {
            name: name.to_owned(),
            first_ms: ms(first),
            median_ms: median(&mut times).unwrap_or_default(),
            least_ms: times.iter().min().map_or(0.0, |&t| ms(t)),
            stock_ms: median(&mut stock_times),
            macs: sum(&|_| true),
            int8_macs: sum(&|n| n.is_int8),
            fallen_back: plan.remainder().fallen_back,
            nodes: nodes.into_iter().map(Node::from).collect(),
        })
    }
}

impl From<NodeTime> for Node {
    fn from(n: NodeTime) -> Self {
        Self { name: n.name, operator: n.operator, holds: n.holds, output: n.output, macs: n.macs, ms: ms(n.time) }
    }
}

impl Pass {
    fn print(&self, args: &Args) {
        println!(
            "{}: {:.2} ms (least {:.2}, first {:.1} with loading), {:.1} M multiplications, {:.1} % of them in int8 operators",
            self.name,
            self.median_ms,
            self.least_ms,
            self.first_ms,
            self.macs as f64 / 1e6,
            100.0 * self.int8_macs as f64 / (self.macs as f64).max(1.0)
        );
        if let Some(why) = &self.fallen_back {
            println!("  int8 operators cannot run it: {why}");
        }
        if let Some(stock) = self.stock_ms {
            println!("  without them {stock:.2} ms, {:.1} times as long", stock / self.median_ms);
        }
        if args.explain {
            println!("  {:>8}  {:>9}  {:<18} node", "ms", "M MAC", "operator");
            for node in &self.nodes {
                let Node { name, operator, holds, output, macs, ms } = node;
                println!("  {ms:>8.3}  {:>9.2}  {operator:<18} {name}  {output}", *macs as f64 / 1e6);
                if let Some(holds) = holds {
                    println!("  {:>8}  {:>9}  {:<18} of {holds}", "", "", "");
                }
            }
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
