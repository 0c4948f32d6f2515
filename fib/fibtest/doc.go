// Package fibtest puts a kernel in memory under the FIBs of a test: package fib runs as it
// is, without root and without touching the machine, and the test sees what the kernel has
// and does to it what others do.
//
// A [Kernel] is one network namespace: interfaces, addresses, neighbours, policy rules,
// next-hop objects, routes and sysctls. It understands the octets of netlink, refuses what
// Linux refuses and notifies as Linux does; package fib's own tests run over the same
// model, and compare it with Linux at random. The FIBs whose Run gets the context of
// [WithKernel] work on it, wherever they are made:
//
//	kernel := fibtest.NewKernel()
//	eth0 := kernel.AddLink("eth0", netip.MustParsePrefix("10.0.0.1/24"))
//	ctx = fibtest.WithKernel(ctx, "", kernel)
//	go f.Run(ctx)                       // or a program that has a FIB inside
//	f.SetRoute(...)
//	f.Flush(ctx)                        // until the kernel has it
//	kernel.Lookup(fibtest.Packet{...})  // where do packets go now?
//	kernel.SetLink("eth0", true, false) // pull the cable
//
// Everything waits for channels and timers only. In a bubble of package testing/synctest,
// time is virtual, and synctest.Wait returns when the FIBs have done what there is to do.
//
// The model has limits. The connected and local routes of addresses decide in Lookup, but
// are not in the tables: a fib.Learner does not see them. There are no multicast routes, no
// neighbour states, no VRF devices, no duplicate address detection, and no bounds of
// memory. Sysctls have values and nothing follows from them.
package fibtest
