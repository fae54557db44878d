//! A gate before a server: closed, it is to those outside as a server that has died, connections under way included.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

/// Passes bytes on to a server until it is closed.
pub struct Gate {
    /// `host:port`.
    pub address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    /// Bytes that may still come in; none: any number.
    room: Option<u64>,
    open: Vec<TcpStream>,
}

impl State {
    fn close(&mut self) {
        self.is_closed = true;
        for stream in self.open.drain(..) {
            // It may have gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Gate {
    /// An open gate before `server`, a `host:port`.
    pub fn open(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let gate = Self {
            address: listener.local_addr()?.to_string(),
            state: Arc::default(),
        };
        let (state, server) = (Arc::clone(&gate.state), server.to_owned());
        std::thread::spawn(move || {
            for outside in listener.incoming().flatten() {
                // A connection that fails is what the client sees of a server that is not there.
                let _ = admit(outside, &server, &state);
            }
        });
        Ok(gate)
    }

    /// Closes once so many more bytes have come in: in the middle of whatever is being sent.
    pub fn close_after(&self, bytes: u64) {
        self.locked(|state| state.room = Some(bytes));
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.locked(|state| state.is_closed)
    }

    /// Opens it again.
    pub fn reopen(&self) {
        self.locked(|state| (state.is_closed, state.room) = (false, None));
    }

    fn locked<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn admit(outside: TcpStream, server: &str, state: &Arc<Mutex<State>>) -> std::io::Result<()> {
    let inside = TcpStream::connect(server)?;
    {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return outside.shutdown(Shutdown::Both);
        }
        state.open.push(outside.try_clone()?);
        state.open.push(inside.try_clone()?);
    }
    let (from, to, counted) = (outside.try_clone()?, inside.try_clone()?, Arc::clone(state));
    std::thread::spawn(move || pass(from, to, Some(&counted)));
    std::thread::spawn(move || pass(inside, outside, None));
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, counted: Option<&Mutex<State>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if let Some(state) = counted {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(room) = &mut state.room {
                *room = room.saturating_sub(read as u64);
                if *room == 0 {
                    state.close();
                    return;
                }
            }
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other side learns of the end.
    let _ = to.shutdown(Shutdown::Write);
}
