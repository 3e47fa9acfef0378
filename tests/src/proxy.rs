//! A network that can be cut: a port that passes on what comes to another one, until it is told to hold everything back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The port, and whether it is cut.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    cut: Arc<AtomicBool>,
}

fn pass(mut from: TcpStream, mut to: TcpStream, cut: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n) = from.read(&mut buffer) {
            // As where packets are dropped: nobody is told, and nothing arrives.
            while cut.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if n == 0 || to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

impl Proxy {
    /// Passes on to a port of this machine.
    pub fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let proxy = Proxy { port: listener.local_addr().expect("its address").port(), cut: Arc::default() };
        let cut = proxy.cut.clone();
        std::thread::spawn(move || {
            for here in listener.incoming().flatten() {
                let Ok(there) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (Ok(h), Ok(t)) = (here.try_clone(), there.try_clone()) else { continue };
                pass(here, there, cut.clone());
                pass(t, h, cut.clone());
            }
        });
        proxy
    }

    /// Cuts the network for as long as the test says.
    pub fn cut(&self, time: Duration) {
        self.cut.store(true, Ordering::Relaxed);
        std::thread::sleep(time);
        self.cut.store(false, Ordering::Relaxed);
    }
}
