//! `MemoryPlan`: what fits beside the weights.
