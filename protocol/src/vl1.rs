//! VL1: peers, paths, roots and the delivery of packets between them.
