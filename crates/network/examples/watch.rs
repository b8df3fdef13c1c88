//! Prints the network and every change of it, to see what Kith sees.
#![expect(clippy::print_stdout, reason = "that is all it does")]

use kith_network::{Network, News};

#[tokio::main]
async fn main() {
    let Ok(network) = tokio::task::spawn_blocking(Network::start).await else { return };
    let mut news = network.watch();
    loop {
        let News { snapshot, changes, resumes, slept } = news.borrow_and_update().clone();
        println!("changes {changes}, resumes {resumes} (the last slept {} s)", slept.as_secs());
        for interface in &snapshot.interfaces {
            println!("  {} {} {:?}", interface.index, interface.name, interface.kind);
            for address in &interface.addresses {
                let temporary = if address.temporary { ", temporary" } else { "" };
                println!("    {}/{}{temporary}", address.ip, address.prefix);
            }
        }
        for gateway in &snapshot.gateways {
            println!("  gateway {} over {}, metric {}", gateway.address, gateway.interface, gateway.metric);
        }
        println!("  direct {:?}", snapshot.direct);
        println!("  leaves by {:?}", snapshot.leaves_by);
        if news.changed().await.is_err() {
            return;
        }
    }
}
