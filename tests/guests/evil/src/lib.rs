//! Functions that misbehave on 13, and give their argument back on anything else.

use weir_udf::udf;

macro_rules! evil {
    ($name:ident, $bad:expr) => {
        #[udf]
        fn $name(n: i64) -> i64 {
            if n == 13 {
                $bad
            } else {
                n
            }
        }
    };
}

fn deeper(n: u64) -> u64 {
    if std::hint::black_box(n) == u64::MAX { 0 } else { 1 + deeper(std::hint::black_box(n + 1)) }
}

evil!(loops, loop {
    std::hint::black_box(0);
});
evil!(eats, {
    let mut all: Vec<Vec<u8>> = vec![];
    loop {
        all.push(std::hint::black_box(vec![1; 1 << 20]));
    }
});
evil!(overflows, deeper(0) as i64);
evil!(panics, panic!("thirteen"));
evil!(exits, std::process::exit(7));
evil!(sleeps, {
    std::thread::sleep(std::time::Duration::from_secs(3600));
    0
});
evil!(prints, loop {
    println!("again and again");
});
evil!(reads, match std::fs::read("/etc/passwd") {
    Ok(b) => b.len() as i64,
    Err(_) => -1,
});
evil!(spies, std::env::vars().count() as i64 - 1);
evil!(connects, match std::net::TcpStream::connect("127.0.0.1:9") {
    Ok(_) => 1,
    Err(e) => panic!("no connection: {e}"),
});

#[udf]
fn fails(n: i64) -> Result<i64, String> {
    if n == 13 { Err("not this one".to_string()) } else { Ok(n) }
}

weir_udf::export!(loops, eats, overflows, panics, exits, sleeps, prints, reads, spies, connects, fails);
