//! VL2: networks, credentials, rules and multicast over VL1.
