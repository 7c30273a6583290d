//! A day as a picture that reads on white and on black.

use crate::report::Sample;
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 700.0;

/// One curve: its name, its colour and its values.
type Curve = (&'static str, &'static str, fn(&Sample) -> usize);

struct Panel {
    title: &'static str,
    top: f64,
    bottom: f64,
    step: usize,
    curves: [Curve; 3],
}

pub fn draw(samples: &[Sample]) -> String {
    let panels = [
        Panel {
            title: "media pods",
            top: 40.0,
            bottom: 250.0,
            step: 200,
            curves: [
                ("of the old revision", "#8b5cf6", |sample| sample.old),
                ("ideal", "#f59e0b", |sample| sample.ideal),
                ("pods", "#3b82f6", |sample| sample.pods),
            ],
        },
        Panel {
            title: "sessions and drains",
            top: 300.0,
            bottom: 460.0,
            step: 2500,
            curves: [
                ("sessions", "#10b981", |sample| sample.sessions),
                ("waiting × 10", "#ef4444", |sample| sample.waiting * 10),
                ("draining pods × 10", "#888888", |sample| {
                    sample.draining * 10
                }),
            ],
        },
    ];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} 500\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#888888\">\n\
         <title>A simulated day: pods against the ideal, sessions, drains</title>\n"
    );
    for panel in &panels {
        draw_panel(&mut svg, panel, samples);
    }
    for (hour, what) in [(12.5, "upgrade"), (20.0, "operator cut off")] {
        let x = across(hour);
        put(
            &mut svg,
            &format!(
                "<path d=\"M{x:.1} 40V460\" stroke=\"#888888\" stroke-dasharray=\"3 4\" fill=\"none\"/>\
             <text x=\"{:.1}\" y=\"36\">{what}</text>",
                x + 4.0
            ),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, samples: &[Sample]) {
    let values = samples
        .iter()
        .flat_map(|s| panel.curves.map(|(_, _, value)| value(s)));
    let most = values.max().unwrap_or(1).div_ceil(panel.step).max(1) * panel.step;
    let up = |value: usize| {
        let share = value as f64 / most as f64;
        panel.bottom - share * (panel.bottom - panel.top)
    };
    put(
        svg,
        &format!(
            "<text x=\"{LEFT}\" y=\"{}\" font-size=\"14\">{}</text>",
            panel.top - 14.0,
            panel.title
        ),
    );
    for value in (0..=most).step_by(panel.step) {
        let y = up(value);
        put(
            svg,
            &format!(
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#888888\" stroke-opacity=\"0.3\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                LEFT - 8.0,
                y + 4.0
            ),
        );
    }
    for hour in (0..=24).step_by(4) {
        put(
            svg,
            &format!(
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{hour}:00</text>",
                across(f64::from(hour)),
                panel.bottom + 18.0
            ),
        );
    }
    for (row, (name, colour, value)) in panel.curves.iter().enumerate() {
        let mut path = String::new();
        for (index, sample) in samples.iter().enumerate().step_by(3) {
            let letter = if index == 0 { 'M' } else { 'L' };
            // Writing to a string does not fail.
            let _ = write!(
                path,
                "{letter}{:.1} {:.1}",
                across(sample.hours),
                up(value(sample))
            );
        }
        let y = panel.top + 14.0 + 20.0 * row as f64;
        put(
            svg,
            &format!(
                "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"1.6\" fill=\"none\"/>\n\
             <path d=\"M{} {y}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"{}\">{name}</text>",
                RIGHT + 14.0,
                RIGHT + 38.0,
                y + 4.0
            ),
        );
    }
}

fn across(hours: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * hours / 24.0
}

fn put(svg: &mut String, line: &str) {
    svg.push_str(line);
    svg.push('\n');
}
