// Package nftrace says what the nftables rules of a network namespace do with a packet, as the
// kernel has them: hvrouter's own table is read back and evaluated, rule by rule; the base
// chains of other tables on the same hooks are named, and may still drop.
//
// The packet is the first of its flow, an echo request of 8 octets. Rates count as not exceeded.
// What cannot be evaluated makes the verdict unsure, and is named. google/nftables leaves out
// expressions that it does not know; those that hvrouter writes it knows.
//
//   - ruleset.go: reads the tables.
//   - packet.go: the octets of the packet.
//   - eval.go: expressions and chains, pure.
//   - hook.go: [Trace], the hooks that a packet passes; frames.go: those of its frames.
//   - chains.go: base chains and the interfaces that they are for; foreign.go: those of others that guests' packets may pass.
package nftrace
