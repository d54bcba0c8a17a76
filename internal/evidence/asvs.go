package evidence

// asvsSet is the edition of the OWASP Application Security Verification Standard
// that the numbers are of.
const asvsSet = "OWASP ASVS 5.0.0"

// An asvsRule is a requirement whose violations analysers look for. Everything
// else in the standard needs judgement.
type asvsRule struct {
	id, title string
	by        []violates
}

// violates names findings that violate a rule: of a tool, by the tool's rules
// (none: all of them), and by a word of the message where a rule says several things.
type violates struct {
	tool  string
	rules []string
	says  string
}

func gosec(rules ...string) violates { return violates{tool: toolGosec, rules: rules} }

// asvsRules lists the requirements by their numbers, in words of our own.
func asvsRules() []asvsRule {
	return []asvsRule{
		{"1.2.1", "What goes into HTML is encoded for where it goes", []violates{gosec("G203", "G705")}},
		{"1.2.4", "Database queries take data as parameters", []violates{gosec("G201", "G202", "G701")}},
		{"1.2.5", "Commands of the operating system take no untrusted text", []violates{gosec("G204", "G702")}},
		{"1.3.6", "Untrusted input does not choose which servers are called", []violates{gosec("G107", "G704")}},
		{"1.3.7", "Templates are not built from untrusted input", []violates{gosec("G708")}},
		{"1.3.11", "Untrusted input is sanitised before it reaches mail", []violates{gosec("G707")}},
		{"1.4.1", "Memory is accessed safely", []violates{gosec("G103", "G602")}},
		{"1.4.2", "Integers do not overflow", []violates{gosec("G109", "G115")}},
		{"1.5.2", "Untrusted data is decoded into known types only", []violates{gosec("G709")}},
		{"3.3.1", "Cookies are Secure, SameSite and HttpOnly (3.3.2 and 3.3.4 as well)", []violates{gosec("G124")}},
		{"3.7.2", "Redirects go to known places only", []violates{gosec("G710")}},
		{"4.2.1", "Where an HTTP message ends is beyond doubt", []violates{gosec("G113")}},
		{"5.2.3", "Compressed files are bounded before they are unpacked", []violates{gosec("G110")}},
		{"5.3.2", "Paths of files come from trusted data", []violates{gosec("G304", "G703")}},
		{"5.3.3", "Unpacking ignores paths in the archive", []violates{gosec("G305")}},
		{"11.3.2", "Only approved ciphers encrypt", []violates{gosec("G405", "G502", "G503")}},
		{"11.3.4", "Nonces and initialisation vectors are used once", []violates{gosec("G407")}},
		{"11.4.1", "Only approved hash functions are used", []violates{gosec("G401", "G406", "G501", "G505", "G506", "G507")}},
		{"11.5.1", "What must not be guessed comes from a secure random source", []violates{gosec("G404")}},
		{"11.6.1", "Keys are generated with approved algorithms and lengths", []violates{gosec("G403")}},
		{"12.1.1", "Only current versions of TLS are spoken", []violates{{toolGosec, []string{"G402"}, "Version"}}},
		{"12.1.2", "Only recommended cipher suites are on", []violates{{toolGosec, []string{"G402"}, "Cipher"}}},
		{"12.3.2", "TLS clients check the server's certificate", []violates{{toolGosec, []string{"G402"}, "InsecureSkipVerify"}, gosec("G123")}},
		{"12.3.5", "SSH clients check the server's key", []violates{gosec("G106", "G408")}},
		{"13.3.1", "No secret is in the source", []violates{{tool: toolGitleaks}, gosec("G101")}},
		{"13.4.2", "No debugging endpoint is served", []violates{gosec("G108")}},
		{"13.4.3", "No folder is listed to clients", []violates{gosec("G111")}},
		{"15.2.1", "No component has a known vulnerability", []violates{{tool: toolVuln}}},
		{"15.2.2", "Slow or large requests can't take the service down", []violates{gosec("G112", "G114", "G120")}},
		{"15.4.1", "What goroutines share is accessed safely", []violates{{tool: toolVet, rules: []string{"copylocks", "atomic", "waitgroup", "loopclosure"}}}},
		{"15.4.2", "Nothing changes between a check and its use", []violates{gosec("G122", "G303")}},
		{"16.4.1", "What is logged is encoded", []violates{gosec("G706")}},
	}
}

// asvsChapters are the chapters; one without a rule above is not checked at all.
func asvsChapters() []struct{ id, title string } {
	return []struct{ id, title string }{
		{"V1", "Encoding and sanitisation"}, {"V2", "Validation and business logic"}, {"V3", "Web front end"}, {"V4", "API and web service"},
		{"V5", "File handling"}, {"V6", "Authentication"}, {"V7", "Sessions"}, {"V8", "Authorisation"}, {"V9", "Self-contained tokens"},
		{"V10", "OAuth and OIDC"}, {"V11", "Cryptography"}, {"V12", "Secure communication"}, {"V13", "Configuration"}, {"V14", "Data protection"},
		{"V15", "Secure coding and architecture"}, {"V16", "Security logging and error handling"}, {"V17", "WebRTC"},
	}
}
