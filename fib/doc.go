// Package fib keeps the kernel's routing tables equal to a desired state.
//
// A [FIB] holds what its user wants in one network namespace: routes, policy
// rules, addresses, neighbours and sysctls. Set and Delete change the wish and
// never block; an owner goroutine ([FIB.Run]) compares it with what the kernel
// has and writes the difference, at once when idle and coalesced when busy.
// [FIB.Flush] is the barrier.
package fib
