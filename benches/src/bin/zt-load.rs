//! Both ends of a load: an ordinary program of the kernel's socket calls that knows nothing of
//! what carries it.
//!
//! ```text
//! zt-load serve PORT
//! zt-load bulk ADDRESS PORT SECONDS STREAMS     bytes and seconds
//! zt-load latency ADDRESS PORT COUNT            1-byte requests: p50 and p99 in microseconds
//! zt-load connect ADDRESS PORT COUNT THREADS    connections opened, served and closed, a second
//! zt-load accept PORT                           accepts and closes, one thread, for `open`
//! zt-load open ADDRESS PORT COUNT WINDOW        connections accepted a second, WINDOW under way at a time
//! zt-load hold ADDRESS PORT COUNT               opens COUNT connections and keeps them
//! zt-load pair SECONDS                          what `bulk` does, to another process over a Unix pair
//! zt-load udp ADDRESS PORT SECONDS SIZE         datagrams as fast as they are taken: arrived a second, percent lost
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

const BLOCK: usize = 128 << 10;

static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// Reads to the end. The total goes back after it: the client knows that all arrived.
fn take_all(mut stream: impl Read + Write) -> std::io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut total = 0u64;
    loop {
        match stream.read(&mut block)? {
            0 => break,
            n => total += n as u64,
        }
    }
    stream.write_all(&total.to_be_bytes())
}

fn serve_one(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    match kind[0] {
        b'B' => take_all(stream),
        // How many datagrams have arrived since the last time.
        b'U' => stream.write_all(&ARRIVED.swap(0, Ordering::Relaxed).to_be_bytes()),
        _ => {
            // Echo byte by byte until the client leaves.
            stream.write_all(&kind)?;
            while stream.read(&mut kind)? == 1 {
                stream.write_all(&kind)?;
            }
            Ok(())
        }
    }
}

/// Counts what arrives.
fn count_datagrams(socket: &UdpSocket) -> std::io::Result<()> {
    let mut datagram = vec![0; 1 << 16];
    loop {
        socket.recv(&mut datagram)?;
        ARRIVED.fetch_add(1, Ordering::Relaxed);
    }
}

fn serve(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    let datagrams = UdpSocket::bind(("0.0.0.0", port))?;
    std::thread::spawn(move || count_datagrams(&datagrams));
    println!("listening");
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || serve_one(stream))?;
    }
    Ok(())
}

/// Writes blocks; how many bytes.
fn write_until(mut stream: impl Write, end: Instant) -> std::io::Result<u64> {
    let block = vec![b'B'; BLOCK];
    let mut sent = 0;
    while Instant::now() < end {
        stream.write_all(&block)?;
        sent += BLOCK as u64;
    }
    Ok(sent)
}

/// What was sent, when it has all arrived.
fn confirmed(mut stream: impl Read, sent: u64) -> std::io::Result<u64> {
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    let total = u64::from_be_bytes(total);
    if total == sent {
        Ok(sent)
    } else {
        Err(std::io::Error::other(format!(
            "sent {sent}, arrived {total}"
        )))
    }
}

/// The other process has its end as standard input.
fn pair(seconds: u64) -> std::io::Result<()> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut taker = Command::new(std::env::current_exe()?)
        .arg("take")
        .stdin(OwnedFd::from(theirs))
        .spawn()?;
    let started = Instant::now();
    let sent = write_until(&mut ours, started + Duration::from_secs(seconds))?;
    ours.shutdown(Shutdown::Write)?;
    let bytes = confirmed(ours, sent)?;
    println!("{bytes} {}", started.elapsed().as_secs_f64());
    taker.wait()?;
    Ok(())
}

fn take() -> std::io::Result<()> {
    take_all(UnixStream::from(
        std::io::stdin().as_fd().try_clone_to_owned()?,
    ))
}

fn bulk(peer: (&str, u16), seconds: u64, streams: usize) -> std::io::Result<()> {
    let started = Instant::now();
    let threads: Vec<_> = (0..streams)
        .map(|_| {
            let stream = TcpStream::connect(peer);
            std::thread::spawn(move || -> std::io::Result<u64> {
                let mut stream = stream?;
                let mut sent = write_until(&mut stream, started + Duration::from_secs(seconds))?;
                stream.shutdown(Shutdown::Write)?;
                // The first byte chose the service.
                sent -= 1;
                confirmed(stream, sent)
            })
        })
        .collect();
    let mut bytes = 0;
    for thread in threads {
        bytes += thread
            .join()
            .map_err(|_| std::io::Error::other("a stream's thread panicked"))??;
    }
    println!("{bytes} {}", started.elapsed().as_secs_f64());
    Ok(())
}

fn latency(peer: (&str, u16), count: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(peer)?;
    stream.set_nodelay(true)?;
    let mut byte = [b'R'];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count + 100 {
        let started = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        times.push(started.elapsed());
    }
    let mut times = times.split_off(100);
    times.sort_unstable();
    let at =
        |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    println!("{:.1} {:.1}", at(50), at(99));
    Ok(())
}

fn connections(peer: (&str, u16), count: u64, threads: usize) -> std::io::Result<()> {
    let begun = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| -> std::io::Result<()> {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> std::io::Result<()> {
                    while begun.fetch_add(1, Ordering::Relaxed) < count {
                        let mut stream = TcpStream::connect(peer)?;
                        let mut byte = [b'C'];
                        stream.write_all(&byte)?;
                        stream.read_exact(&mut byte)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker
                .join()
                .map_err(|_| std::io::Error::other("a worker panicked"))??;
        }
        Ok(())
    })?;
    println!("{:.0}", count as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

/// Accepts and closes: what a server can take in when it does nothing else.
fn accept(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("listening");
    loop {
        drop(listener.accept()?);
    }
}

/// Keeps `window` connections under way, each until the server has closed it.
fn open(peer: (&str, u16), count: u64, window: usize) -> std::io::Result<()> {
    let ip: IpAddr = peer.0.parse().map_err(std::io::Error::other)?;
    let to = SockaddrStorage::from(SocketAddr::new(ip, peer.1));
    let family = if ip.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut under_way: HashMap<u64, OwnedFd> = HashMap::with_capacity(window);
    let (mut begun, mut ended) = (0, 0);
    let mut events = vec![EpollEvent::empty(); window];
    let started = Instant::now();
    while ended < count {
        while begun < count && under_way.len() < window {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(family, SockType::Stream, flags, None)?;
            match connect(socket.as_raw_fd(), &to) {
                Ok(()) | Err(Errno::EINPROGRESS) => {}
                Err(errno) => return Err(errno.into()),
            }
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, begun))?;
            under_way.insert(begun, socket);
            begun += 1;
        }
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            let Some(socket) = under_way.remove(&event.data()) else {
                continue;
            };
            // End of file: accepted and closed. Anything else is a connection that failed.
            let read = File::from(socket).read(&mut [0])?;
            if read != 0 {
                return Err(std::io::Error::other(
                    "a byte from a server that sends none",
                ));
            }
            ended += 1;
        }
    }
    println!("{:.0}", count as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

fn hold(peer: (&str, u16), count: usize) -> std::io::Result<()> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(peer)?;
        let mut byte = [b'H'];
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        streams.push(stream);
    }
    println!("holding {}", streams.len());
    // Until it is ended.
    loop {
        std::thread::park();
    }
}

/// Asks the server how many datagrams have arrived.
fn arrived(peer: (&str, u16)) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect(peer)?;
    stream.write_all(b"U")?;
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    Ok(u64::from_be_bytes(count))
}

fn datagrams(peer: (&str, u16), seconds: u64, size: usize) -> std::io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(peer)?;
    let _ = arrived(peer)?;
    let datagram = vec![0x5a; size];
    let started = Instant::now();
    let mut sent = 0_u64;
    while started.elapsed() < Duration::from_secs(seconds) {
        // A look at the clock costs a good part of a datagram.
        for _ in 0..32 {
            socket.send(&datagram)?;
            sent += 1;
        }
    }
    let took = started.elapsed().as_secs_f64();
    let mut count = 0;
    loop {
        // What is on its way still arrives.
        std::thread::sleep(Duration::from_millis(200));
        match arrived(peer)? {
            0 => break,
            more => count += more,
        }
    }
    let lost = 100.0 * (1.0 - count as f64 / sent as f64);
    println!("{:.0} {lost:.2}", count as f64 / took);
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let port = |text: &str| text.parse::<u16>().unwrap_or(0);
    let result = match arguments.as_slice() {
        ["serve", p] => serve(port(p)),
        ["bulk", a, p, seconds, streams] => {
            bulk((a, port(p)), number(seconds), number(streams) as usize)
        }
        ["latency", a, p, count] => latency((a, port(p)), number(count) as usize),
        ["connect", a, p, count, threads] => {
            connections((a, port(p)), number(count), number(threads) as usize)
        }
        ["pair", seconds] => pair(number(seconds)),
        ["take"] => take(),
        ["accept", p] => accept(port(p)),
        ["open", a, p, count, window] => open((a, port(p)), number(count), number(window) as usize),
        ["udp", a, p, seconds, size] => {
            datagrams((a, port(p)), number(seconds), number(size) as usize)
        }
        ["hold", a, p, count] => hold((a, port(p)), number(count) as usize),
        _ => Err(std::io::Error::other(
            "see the head of zt-load.rs for the arguments",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zt-load: {error}");
            ExitCode::FAILURE
        }
    }
}
