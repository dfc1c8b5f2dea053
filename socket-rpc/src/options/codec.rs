//! Options as they stand in messages and in the state table.

use super::Options;
use crate::wire::{Malformed, Reader, Writer};

impl Options {
    /// Bytes of the encoded form.
    pub const LEN: usize = 48;

    const fn flags(&self) -> u32 {
        (self.no_delay as u32)
            | (self.cork as u32) << 1
            | (self.quick_ack as u32) << 2
            | (self.keep_alive as u32) << 3
            | (self.reuse_address as u32) << 4
            | (self.reuse_port as u32) << 5
            | (self.broadcast as u32) << 6
            | (self.oob_inline as u32) << 7
            | (self.dont_route as u32) << 8
            | (self.v6_only as u32) << 9
            | (self.receive_errors as u32) << 10
            | (self.free_bind as u32) << 11
            | (self.late_port as u32) << 12
            | (self.fast_open_connect as u32) << 13
            | (self.lingers as u32) << 14
            | (self.receive_packet_info as u32) << 15
            | (self.receive_ttl as u32) << 16
            | (self.receive_tos as u32) << 17
            | (self.multicast_loop as u32) << 18
            | (self.multicast_all as u32) << 19
            | (self.merge as u32) << 20
    }

    /// The encoded form.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut out = Writer::new(&mut bytes);
        out.u32(self.flags());
        out.u32(self.user_timeout);
        out.u32(self.window_clamp);
        out.u32(self.not_sent_low_water);
        out.u32(self.defer_accept);
        out.i32(self.fin_timeout);
        out.u16(self.linger_seconds);
        out.u16(self.keep_idle);
        out.u16(self.keep_interval);
        out.u16(self.max_segment);
        out.u16(self.fast_open);
        for byte in [
            self.keep_count,
            self.syn_count,
            self.tos,
            self.ttl,
            self.hop_limit,
            self.traffic_class,
            self.priority,
            self.mtu_discover,
            self.multicast_ttl,
            self.multicast_hops,
        ] {
            out.u8(byte);
        }
        out.u16(self.multicast_interface);
        out.u16(self.segment);
        bytes
    }

    /// Total: values out of range are kept as they are, for every reader treats them as plain numbers.
    ///
    /// # Errors
    /// None: the length is right.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        let flags = input.u32()?;
        let bit = |index: u32| flags >> index & 1 == 1;
        let mut options = Self {
            no_delay: bit(0),
            cork: bit(1),
            quick_ack: bit(2),
            keep_alive: bit(3),
            reuse_address: bit(4),
            reuse_port: bit(5),
            broadcast: bit(6),
            oob_inline: bit(7),
            dont_route: bit(8),
            v6_only: bit(9),
            receive_errors: bit(10),
            free_bind: bit(11),
            late_port: bit(12),
            fast_open_connect: bit(13),
            receive_packet_info: bit(15),
            receive_ttl: bit(16),
            receive_tos: bit(17),
            multicast_loop: bit(18),
            multicast_all: bit(19),
            merge: bit(20),
            lingers: bit(14),
            user_timeout: input.u32()?,
            window_clamp: input.u32()?,
            not_sent_low_water: input.u32()?,
            defer_accept: input.u32()?,
            fin_timeout: input.i32()?,
            ..Self::default()
        };
        options.linger_seconds = input.u16()?;
        options.keep_idle = input.u16()?;
        options.keep_interval = input.u16()?;
        options.max_segment = input.u16()?;
        options.fast_open = input.u16()?;
        options.keep_count = input.u8()?;
        options.syn_count = input.u8()?;
        options.tos = input.u8()?;
        options.ttl = input.u8()?;
        options.hop_limit = input.u8()?;
        options.traffic_class = input.u8()?;
        options.priority = input.u8()?;
        options.mtu_discover = input.u8()?;
        options.multicast_ttl = input.u8()?;
        options.multicast_hops = input.u8()?;
        options.multicast_interface = input.u16()?;
        options.segment = input.u16()?;
        Ok(options)
    }
}
