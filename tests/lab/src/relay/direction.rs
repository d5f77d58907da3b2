//! One direction of one relayed connection: read at once, release on time, in order.

use super::schedule::Schedule;
use super::settings::{DirectionSettings, RelaySettings};
use crate::clock::Timer;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Bytes on the wire per direction and connection: what bounds memory. It is also the link's
/// bandwidth-delay product: 4 MiB allow 100 MB/s at 40 ms one way, more than the lab sends.
const IN_FLIGHT_BYTES: u32 = 4 * 1024 * 1024;
/// Largest read: one timestamp covers it.
const READ_BYTES: usize = 64 * 1024;
/// With a rate set, a read is at most this share of a second of it, so that a slow link
/// delivers evenly and not in bursts.
const RATED_READS_PER_SECOND: u64 = 100;

/// Bytes and the moment at which they leave the link; no bytes mean the end of the stream.
struct Parcel {
    bytes: Bytes,
    release: Instant,
    /// Gives the room in the buffer back when the parcel has been written.
    _room: Option<OwnedSemaphorePermit>,
}

/// Carries one direction until its end has been passed on. Dropping it loses what is in flight.
///
/// # Errors
/// Reading or writing failed, typically because a peer reset its connection.
pub(super) async fn run(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    settings: watch::Receiver<RelaySettings>,
    side: fn(&RelaySettings) -> DirectionSettings,
) -> io::Result<()> {
    let (parcels, arrivals) = mpsc::unbounded_channel(); // bounded by the permits of its parcels
    let reading = read(from, parcels, settings.clone(), side);
    let writing = write(to, arrivals, settings);
    tokio::try_join!(reading, writing).map(|_| ())
}

/// Stamps what arrives with the moment of its release.
async fn read(
    from: &mut OwnedReadHalf,
    parcels: mpsc::UnboundedSender<Parcel>,
    settings: watch::Receiver<RelaySettings>,
    side: fn(&RelaySettings) -> DirectionSettings,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(IN_FLIGHT_BYTES as usize));
    let mut schedule = Schedule::starting_at(Instant::now());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        from.readable().await?;
        let now = Instant::now();
        let link = side(&settings.borrow());
        let limit = link
            .rate_bytes_per_s
            .map_or(READ_BYTES as u64, |rate| (rate / RATED_READS_PER_SECOND).clamp(1, READ_BYTES as u64));
        let limit = usize::try_from(limit).unwrap_or(READ_BYTES);
        let length = match from.try_read(&mut buffer[..limit]) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let release = schedule.release(now, length, &link, rand::random());
        let permits = u32::try_from(length).unwrap_or(IN_FLIGHT_BYTES);
        // The semaphore is never closed; `ok` only spares an impossible error path.
        let _room = room.clone().acquire_many_owned(permits).await.ok();
        let parcel = Parcel { bytes: Bytes::copy_from_slice(&buffer[..length]), release, _room };
        if parcels.send(parcel).is_err() || length == 0 {
            return Ok(());
        }
    }
}

/// Writes every parcel when it is due.
async fn write(
    to: &mut OwnedWriteHalf,
    mut arrivals: mpsc::UnboundedReceiver<Parcel>,
    mut settings: watch::Receiver<RelaySettings>,
) -> io::Result<()> {
    let timer = Timer::new()?;
    while let Some(parcel) = arrivals.recv().await {
        timer.sleep_until(parcel.release).await?;
        // A relay whose settings are gone is ending: nothing left to wait for.
        let _ = settings.wait_for(|s| !s.blackhole).await;
        if parcel.bytes.is_empty() {
            break;
        }
        to.write_all(&parcel.bytes).await?;
    }
    to.shutdown().await
}
