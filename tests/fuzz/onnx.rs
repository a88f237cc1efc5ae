//! Any bytes as a model: an error or a plan, never a panic, never more memory than a damaged size claims.
//!
//! What a plan gives for an input is run once as well. `tests/fuzz/run.sh` builds and feeds it.

#![no_main]

use std::path::Path;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;

#[path = "../networks/mod.rs"]
mod networks;

/// Where the first files come from: whole models in `SEEDS`, written before the corpus is read.
fn start() {
    let Some(folder) = std::env::var_os("SEEDS") else { return };
    for (name, model) in [("qdq", networks::model()), ("qoperator", networks::qoperator_model())] {
        let bytes = zoomgate::nn::onnx::encode(&model);
        std::fs::write(Path::new(&folder).join(name), bytes).expect("a folder for the first files");
    }
}

static QUIET: Once = Once::new();

fuzz_target!(init: start(), |bytes: &[u8]| {
    // Panics of tract's are caught by us and are errors; libFuzzer's hook would end the run at each.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    let run = || {
        if let Ok(plan) = networks::planned(bytes) {
            let input = vec![7; networks::SHAPE.iter().product()];
            _ = plan.spawn().and_then(|mut running| running.run(&input).map(drop));
        }
    };
    if std::panic::catch_unwind(run).is_err() {
        std::process::abort();
    }
});
