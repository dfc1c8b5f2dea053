//! The control channel: one connection a request, nothing kept open.

use zt_socket_rpc::linux::{EAGAIN, EINTR, ENETUNREACH, ETIMEDOUT, SO_RCVTIMEO_OLD, SOL_SOCKET};
use zt_socket_rpc::{MAX_MESSAGE, Reply, Request};

use crate::kernel::{Errno, Fd, Kernel, POLLIN, Received, Waiting};
use crate::{Program, native};

/// How long the service may take to answer before it counts as away.
const REPLY_TIMEOUT_MS: i32 = 5_000;
/// How often a full accept queue of the service is tried, a millisecond apart.
const CONNECT_ATTEMPTS: u32 = 2_000;

/// The end of a connect that was waited for.
pub(crate) enum Waited {
    /// It is up.
    Connected,
    /// It came to nothing, with this errno.
    Failed(i32),
    /// A signal or the program's own time-out ended the wait; the attempt goes on.
    Interrupted(Errno),
}

impl<K: Kernel> Program<'_, K> {
    /// Sends a request that has no answer.
    pub(crate) fn send_request(&self, request: &Request, descriptors: &[Fd]) -> Result<(), Errno> {
        let channel = self.open_channel(request, descriptors)?;
        self.kernel.close(channel);
        Ok(())
    }

    /// Sends a request and waits for its answer and the descriptor with it.
    ///
    /// # Errors
    /// [`ENETUNREACH`] when the service refuses to talk, [`ETIMEDOUT`] when it is stuck; `EMFILE` and its like when this
    /// process has no descriptor for it.
    pub(crate) fn exchange(
        &self,
        request: &Request,
        descriptors: &[Fd],
    ) -> Result<(Reply, Option<Fd>), Errno> {
        self.exchange_within(request, descriptors, REPLY_TIMEOUT_MS)
    }

    /// As [`Self::exchange`], for what the service itself may have to wait for.
    pub(crate) fn exchange_within(
        &self,
        request: &Request,
        descriptors: &[Fd],
        timeout_ms: i32,
    ) -> Result<(Reply, Option<Fd>), Errno> {
        let channel = self.open_channel(request, descriptors)?;
        let reply = self.await_reply(channel, timeout_ms);
        self.kernel.close(channel);
        reply
    }

    /// Sends a connect and waits for its end as a blocking `connect` does, no longer than the `SO_SNDTIMEO` of
    /// `limit`.
    pub(crate) fn exchange_connect(
        &self,
        request: &Request,
        descriptors: &[Fd],
        limit: &native::Timeval,
    ) -> Result<Channel, Errno> {
        let channel = self.open_channel(request, descriptors)?;
        // A plain blocking receive, so that a signal restarts or ends it as the program asked for.
        let prepared = self.kernel.set_nonblocking(channel, false).and_then(|()| {
            if native::is_zero(limit) {
                return Ok(());
            }
            self.kernel
                .set_option(channel, SOL_SOCKET, SO_RCVTIMEO_OLD, limit)
        });
        if let Err(errno) = prepared {
            self.kernel.close(channel);
            return Err(errno);
        }
        Ok(Channel(channel))
    }

    /// Waits for the end of a connect, and closes the channel.
    pub(crate) fn wait_connected(&self, Channel(channel): Channel) -> Waited {
        let mut message = [0; MAX_MESSAGE];
        let mut descriptors = Received::default();
        let received = self.kernel.receive_message(
            channel,
            &mut message,
            &mut descriptors,
            true,
            Waiting::AsDescriptor,
        );
        self.close_all(&descriptors);
        self.kernel.close(channel);
        match received {
            Ok(len) => match message.get(..len).map(Reply::parse) {
                Some(Ok(Reply::Failed { errno })) => Waited::Failed(errno),
                Some(Ok(_)) => Waited::Connected,
                // Closed without an answer: the service died, or did not like the request.
                _ => Waited::Failed(ENETUNREACH),
            },
            Err(errno) => Waited::Interrupted(errno),
        }
    }

    /// Closes the channel without waiting.
    pub(crate) fn abandon(&self, Channel(channel): Channel) {
        self.kernel.close(channel);
    }

    fn open_channel(&self, request: &Request, descriptors: &[Fd]) -> Result<Fd, Errno> {
        let mut message = [0; MAX_MESSAGE];
        let len = request.emit(&mut message);
        let mut attempts = 0;
        let channel = loop {
            match self.kernel.connect_path(self.settings.path()) {
                Ok(channel) => break channel,
                Err(Errno(EAGAIN)) if attempts < CONNECT_ATTEMPTS => {
                    attempts += 1;
                    self.kernel.sleep(1);
                }
                // Here, and not there, is the shortage.
                Err(errno) if errno.is_scarcity() => return Err(errno),
                // Away: no file, nobody listening, or not for us.
                Err(_) => return Err(Errno(ENETUNREACH)),
            }
        };
        let sent =
            self.kernel
                .send_message(channel, message.get(..len).unwrap_or_default(), descriptors);
        if let Err(errno) = sent {
            self.kernel.close(channel);
            return Err(errno);
        }
        Ok(channel)
    }

    fn await_reply(&self, channel: Fd, timeout_ms: i32) -> Result<(Reply, Option<Fd>), Errno> {
        loop {
            match self.kernel.wait(channel, POLLIN, timeout_ms) {
                Ok(0) => return Err(Errno(ETIMEDOUT)),
                Ok(_) => break,
                // Short and bounded: a signal handler runs, then the wait goes on.
                Err(Errno(EINTR)) => {}
                Err(errno) => return Err(errno),
            }
        }
        let mut message = [0; MAX_MESSAGE];
        let mut descriptors = Received::default();
        let len = self.kernel.receive_message(
            channel,
            &mut message,
            &mut descriptors,
            true,
            Waiting::No,
        )?;
        match message.get(..len).map(Reply::parse) {
            Some(Ok(reply)) => {
                let (first, rest) = (descriptors[0], &descriptors[1..]);
                self.close_all(rest);
                Ok((reply, first))
            }
            _ => {
                self.close_all(&descriptors);
                Err(Errno(ENETUNREACH))
            }
        }
    }

    pub(crate) fn close_all(&self, descriptors: &[Option<Fd>]) {
        for fd in descriptors.iter().flatten() {
            self.kernel.close(*fd);
        }
    }
}

/// A control connection on which a connect is waited for.
pub(crate) struct Channel(Fd);
