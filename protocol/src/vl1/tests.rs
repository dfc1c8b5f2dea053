//! Conversations of whole nodes on a simulated network.

mod hostile;
mod joining;
mod lan;
mod lasting;
mod roots;
mod sizes;
