package plan

// In ModeNetNS each domain lives in a network namespace: guests and the public
// uplinks in one beside the hypervisor's own, which keeps the private uplinks and
// the loopback. Each has nothing but its table main, so that no rules are needed.

// tableMain is the kernel's table main.
const tableMain = 254

// PublicName is the node name of hypervisor n's public side in ModeNetNS.
func PublicName(n int) string { return HVName(n) + "-public" }

// Apart reports whether the public side of a hypervisor is a node of its own.
func (v Variant) Apart() bool { return v.Is("mode", ModeNetNS) }

// Table returns the number that one of the plan's tables has in the kernel.
func (v Variant) Table(id uint32) uint32 {
	if v.Apart() {
		return tableMain
	}
	return id
}
