//! A terminal that is drawn on: what was there comes back when this is dropped, whatever ended it.

use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::sync::mpsc;

/// The other screen, without a cursor, and lines that are too long are cut.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[2J";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";
/// Lines of a terminal that does not say how many it has.
const LINES: usize = 24;

/// The terminal of this process, while it is drawn on.
pub(super) struct Screen {
    before: Termios,
}

/// Whether there is a terminal that can be drawn on and asked for keys.
pub(super) fn is_there() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

impl Screen {
    /// Keys come one by one from now on and are not shown; Ctrl-C is a signal still.
    pub(super) fn open() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &now)?;
        let screen = Self { before };
        write(ENTER)?;
        Ok(screen)
    }

    /// Draws as many of these lines as there is room for.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let rows = termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_row));
        let rows = if rows == 0 { LINES } else { rows };
        let mut frame = "\u{1b}[H".to_owned();
        for (number, line) in lines.iter().take(rows).enumerate() {
            frame.push_str(if number == 0 { "" } else { "\r\n" });
            frame.push_str(line);
            frame.push_str("\u{1b}[K");
        }
        frame.push_str("\u{1b}[J");
        write(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing to put in order.
        let _ = write(LEAVE);
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The keys that are pressed, from a thread that waits for them for as long as the process lives.
pub(super) fn keys() -> io::Result<mpsc::Receiver<u8>> {
    let (pressed, keys) = mpsc::channel(8);
    std::thread::Builder::new().name("keys".into()).spawn(move || {
        for key in io::stdin().lock().bytes().map_while(Result::ok) {
            if pressed.blocking_send(key).is_err() {
                return;
            }
        }
    })?;
    Ok(keys)
}
