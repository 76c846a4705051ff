//! `simulate`: runs the simulated Talkdesk alone.

use std::time::Duration;

use anyhow::Context as _;

use super::arguments::{Failed, SimulateArguments};
use super::runtime::StopSignals;
use crate::clock::Clock;
use crate::simulator::{Options, Simulator, samples};

/// Simulates until the process is told to stop.
pub(super) fn run(arguments: &SimulateArguments) -> Result<(), Failed> {
    let options = Options {
        listen: arguments.listen,
        tls: arguments.tls,
        token_lifetime: Duration::from_secs(arguments.token_lifetime),
        ..samples()
    };
    super::runtime::block_on(async {
        let mut stop = StopSignals::listen()?;
        let simulator = Simulator::start(options, Clock::System)
            .await
            .context("the simulated Talkdesk can't be started")?;
        if let Some(folder) = &arguments.write_credentials {
            std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
            let files = simulator
                .write_credentials(folder)
                .with_context(|| format!("no secrets can be written to {}", folder.display()))?;
            for file in files {
                println!("wrote {}", file.display());
            }
        }
        println!("upstream.api_url:   {}", simulator.url());
        println!("upstream.token_url: {}", simulator.token_url());
        println!("counters and faults: {}/_simulator/counters, {0}/_simulator/faults", simulator.url());
        stop.next().await;
        simulator.shutdown().await;
        Ok(())
    })
}
