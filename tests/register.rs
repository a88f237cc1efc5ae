//! Parts that come turned and shifted: brought into line first, a template of each place knows them again.

#![cfg(feature = "teach")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zoomgate::error::ErrorKind;
use zoomgate::eval::metrics::escape_at;
use zoomgate::frame::Frame;
use zoomgate::frame::motion::{Motion, warped};
use zoomgate::inspect::Inspect as _;
use zoomgate::inspect::model::Model;
use zoomgate::nn::backbone::Backbone;
use zoomgate::sim::DefectKind;
use zoomgate::sim::render::{Scene, Want};
use zoomgate::train::{Options, Picture, Register, Silent, train};

const SIZE: (u32, u32) = (200, 160);

/// How part `index` lies: up to 7 degrees and 6 % of the frame from where the others do.
fn lies(index: u64) -> Motion {
    let mut rng = ChaCha8Rng::seed_from_u64(index);
    let mut upto = |most: f64| rng.random_range(-most..most);
    Motion { dx: upto(12.0), dy: upto(10.0), degrees: upto(7.0) }
}

fn part(scene: &Scene, index: u64, want: Want) -> Frame {
    let part = scene.render_part(index, want);
    warped(&Frame::still(part.width, part.height, part.rgb), &lies(index))
}

fn lesson(scene: &Scene, register: Register) -> Vec<u8> {
    let picture = |i| Picture::memory(part(scene, i, Want::Good), i.to_string());
    let good: Vec<_> = (0..40).map(picture).collect();
    let options = Options { size: 128, prototypes: 64, register, ..Options::default() };
    train(&good, &[], &Backbone::bundled().unwrap(), &options, &Silent).unwrap().bytes
}

#[test]
fn a_missing_hole_is_found_where_parts_lie_anyhow_and_shown_where_it_is() {
    let scene = Scene::new(3, SIZE.0, SIZE.1, 0.0);
    let found = [Register::Never, Register::Always].map(|register| {
        let model = Model::from_bytes(&lesson(&scene, register), "the recipe just taught").unwrap();
        assert_eq!(model.recipe().registration.is_some(), register == Register::Always);
        let mut inspector = model.inspector().unwrap();
        let goods: Vec<f32> =
            (100..130).map(|i| inspector.inspect(&part(&scene, i, Want::Good)).unwrap().score.0).collect();
        let (mut bads, mut shown) = (Vec::new(), 0);
        for i in 200..230 {
            let want = Want::Defective(DefectKind::MissingHole);
            let frame = part(&scene, i, want);
            let inspection = inspector.inspect(&frame).unwrap();
            bads.push(inspection.score.0);
            // The crop is told in the frame's own pixels, wherever the part was moved to be looked at.
            let hole = lies(i).follow(&scene.render_part(i, want).truth[0].roi, SIZE.0, SIZE.1);
            let crop = inspection.crops.as_slice()[0];
            shown += usize::from(crop.contains(hole.x + hole.width / 2, hole.y + hole.height / 2));
            let (map, columns, rows, _) = inspector.heat(&frame);
            assert_eq!(map.len(), columns * rows);
        }
        (escape_at(&goods, &bads, 0.05).unwrap(), shown)
    });
    let [(as_they_lie, _), (in_line, shown)] = found;
    // At 1 good part in 20 rejected.
    assert!(in_line <= 0.05 && as_they_lie >= in_line + 0.1, "as they lie {as_they_lie} pass, in line {in_line}");
    assert!(shown >= 20, "{shown} of 30 crops hold the missing hole");
}

#[test]
fn parts_are_brought_into_line_by_themselves_where_that_makes_them_alike() {
    let scene = Scene::new(3, SIZE.0, SIZE.1, 0.0);
    let is_registered = |bytes: &[u8]| Model::from_bytes(bytes, "r").unwrap().recipe().registration.is_some();
    assert!(is_registered(&lesson(&scene, Register::Auto)), "turned by up to 7 degrees");
    // One part in its place, as a camera sees it again and again.
    let part = scene.render_part(1, Want::Good);
    let again = |seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rgb: Vec<u8> = part.rgb.iter().map(|v| v.saturating_add(rng.random_range(0..24))).collect();
        Picture::memory(Frame::still(part.width, part.height, rgb), seed.to_string())
    };
    let good: Vec<_> = (0..20).map(again).collect();
    let options = Options { size: 64, prototypes: 16, ..Options::default() };
    assert!(!is_registered(&train(&good, &[], &Backbone::bundled().unwrap(), &options, &Silent).unwrap().bytes));
}

#[test]
fn pictures_without_a_common_part_are_refused_by_name() {
    let noise = |seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rgb: Vec<u8> = (0..64 * 48).flat_map(|_| [rng.random::<u8>(); 3]).collect();
        Picture::memory(Frame::still(64, 48, rgb), seed.to_string())
    };
    let good: Vec<_> = (0..10).map(noise).collect();
    let options = Options { size: 64, register: Register::Always, ..Options::default() };
    let error = train(&good, &[], &Backbone::bundled().unwrap(), &options, &Silent).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("teach without --register=always"), "{error}");
}
