package domain

// The priorities with VRFs: the kernel makes the first rule by itself, with the first
// VRF.
const (
	prioVRF      = 1000
	prioVRFLocal = 1001
)

// byVRF: a packet of a VRF looks into its table alone, before table local: addresses
// of other VRFs and of none are nobody's there. What is in no VRF finds what the kernel
// has by itself. Two rules serve any number of domains and guests.
func byVRF() []Rule {
	var rules []Rule
	for _, v6 := range []bool{false, true} {
		rules = append(rules, Rule{IPv6: v6, Priority: prioVRF, L3MDev: true},
			Rule{IPv6: v6, Priority: prioVRFLocal, Table: tableLocal},
			Rule{IPv6: v6, Priority: 32766, Table: tableMain})
	}
	return append(rules, Rule{Priority: 32767, Table: tableDefault})
}
