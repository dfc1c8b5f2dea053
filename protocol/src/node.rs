//! One node: VL1 and VL2 joined behind the five verbs of a sans-IO core.
