//! The deliveries, as an at-least-once queue would bring them: one a line, some more than once.

use std::fs;
use std::io::{self, BufRead, BufReader, Cursor};
use std::path::Path;
use std::thread;

use idempotency::BoxError;
use tokio::sync::mpsc;

use crate::order::NewOrder;

/// The deliveries that ship with the program.
const SAMPLE: &str = include_str!("../deliveries.jsonl");

/// One line of the input.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) line: usize,
    pub(crate) order: serde_json::Result<NewOrder>,
}

/// The deliveries that are still to come.
#[derive(Debug)]
pub(crate) struct Queue {
    /// What the input is called.
    pub(crate) name: String,
    /// How many lines there are, where that can be known.
    pub(crate) lines: Option<usize>,
    deliveries: mpsc::Receiver<io::Result<Delivery>>,
}

impl Queue {
    /// Opens `file`, standard input for `-`, or the sample.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, BoxError> {
        let (name, text) = match file {
            None => ("the sample".to_owned(), SAMPLE.as_bytes().to_vec()),
            Some(path) if path == "-" => {
                let input = BufReader::new(io::stdin());
                return Ok(Self::read("standard input".to_owned(), None, input));
            }
            Some(path) => {
                let name = path.display().to_string();
                let text = fs::read(path).map_err(|error| format!("{name}: {error}"))?;
                (name, text)
            }
        };
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !is_blank(line));
        Ok(Self::read(name, Some(lines.count()), Cursor::new(text)))
    }

    /// Reads ahead in a thread of its own, because standard input may keep its reader waiting.
    fn read(name: String, lines: Option<usize>, input: impl BufRead + Send + 'static) -> Self {
        let (sender, deliveries) = mpsc::channel(64);
        thread::spawn(move || {
            for (line, text) in (1..).zip(input.split(b'\n')) {
                if text.as_ref().is_ok_and(|text| is_blank(text)) {
                    continue;
                }
                let is_last = text.is_err();
                let delivery = text.map(|text| Delivery {
                    line,
                    order: serde_json::from_slice(&text),
                });
                if sender.blocking_send(delivery).is_err() || is_last {
                    break;
                }
            }
        });
        Self {
            name,
            lines,
            deliveries,
        }
    }

    /// The next delivery, or `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Delivery>> {
        self.deliveries.recv().await
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}
