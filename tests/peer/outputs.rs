//! Writes what a model makes of a picture, for `tests/peer/qoperator.py`:
//!
//! ```text
//! outputs MODEL HEIGHT WIDTH PICTURE OUT_DIR NAME…
//! ```
//!
//! PICTURE holds `[3, HEIGHT, WIDTH]` bytes, OUT_DIR gets a file of raw numbers for each tensor NAME, `0.raw` and so on.
//! Prints the plan's nodes, one a line.

use std::error::Error;
use std::fs;
use std::path::Path;

use zoomgate::nn::{onnx, plan::ExecutionPlan};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, height, width, picture, out, names @ ..] = &args[..] else {
        return Err("usage: outputs MODEL HEIGHT WIDTH PICTURE OUT_DIR NAME…".into());
    };
    let decoded = onnx::decode(&fs::read(model)?, model)?;
    let (_, elem, _) = onnx::interface(&decoded).ok_or("a model of one input, bytes or floats")?;
    let shape = [1, 3, height.parse()?, width.parse()?];
    let plan = ExecutionPlan::new(&decoded, shape, elem, names, model)?;
    let picture = fs::read(picture)?;
    let mut running = plan.spawn()?;
    for (i, output) in running.run(&picture)?.iter().enumerate() {
        fs::write(Path::new(out).join(format!("{i}.raw")), output.bytes())?;
    }
    for node in running.profile(&plan, &picture, 1)? {
        println!("{}\t{}\t{}", node.operator, node.name, node.output);
    }
    Ok(())
}
