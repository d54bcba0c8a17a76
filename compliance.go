package conclave

// Licence is under what terms a module may be used with which a tree is built.
type Licence struct {
	Module   string         `json:"module"` // "." for the tree's own
	Version  string         `json:"version,omitempty"`
	Licences []string       `json:"licences"` // SPDX identifiers; empty when none was recognised
	Verdict  LicenceVerdict `json:"verdict"`
}

// LicenceVerdict is what the lists of licences say of a module.
type LicenceVerdict string

// Verdicts. A tree's own licence is not judged: it is whatever its owner chose.
const (
	LicenceOwn      LicenceVerdict = "own"
	LicenceAllowed  LicenceVerdict = "allowed"
	LicenceUnlisted LicenceVerdict = "unlisted" // on neither list
	LicenceDenied   LicenceVerdict = "denied"
	LicenceUnknown  LicenceVerdict = "unknown" // no text of a licence was recognised
)

// ComplianceStatus is whether a rule holds, as far as it was looked at.
type ComplianceStatus string

// Statuses. Met says that what looks for violations of the rule ran over all of
// the code and found none; what needs judgement is not checked.
const (
	ComplianceMet        ComplianceStatus = "met"
	ComplianceNotMet     ComplianceStatus = "not_met"
	ComplianceNotChecked ComplianceStatus = "not_checked"
)

// Compliance is what was found out about one rule of a rule set.
type Compliance struct {
	Set      string           `json:"set"`  // "OWASP ASVS 5.0.0", "licences"
	Rule     string           `json:"rule"` // "1.2.4"; of a chapter as a whole "V6"
	Title    string           `json:"title"`
	Status   ComplianceStatus `json:"status"`
	Evidence []string         `json:"evidence"`           // why: places of violations, what was run, or what is missing
	Findings []string         `json:"findings,omitempty"` // keys of the findings that violate it
}
