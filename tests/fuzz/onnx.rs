//! Any bytes as a model: an error or a plan, never a panic, never more memory than a damaged size claims.
//!
//! What a plan gives for an input is run once as well. `tests/fuzz/run.sh` builds and feeds it.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[path = "../networks/mod.rs"]
mod networks;

/// Before the corpus is read: the first files, whole models in `SEEDS`.
fn start() {
    // Panics of tract's are caught by us and are errors; the hook that libFuzzer has set by now would end the run at each.
    std::panic::set_hook(Box::new(|_| ()));
    let Some(folder) = std::env::var_os("SEEDS") else { return };
    for (name, model) in [("qdq", networks::model()), ("qoperator", networks::qoperator_model())] {
        let bytes = zoomgate::nn::onnx::encode(&model);
        std::fs::write(Path::new(&folder).join(name), bytes).expect("a folder for the first files");
    }
}

fuzz_target!(init: start(), |bytes: &[u8]| {
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
