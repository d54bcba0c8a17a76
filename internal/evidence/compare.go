package evidence

import (
	"slices"
	"strings"

	"conclave"
)

// Compare says what is new in now since base: it marks checks that failed in
// the same way before, fills New and Gone by the findings' keys, and puts new
// findings first. A check fails in the same way when every finding that makes
// it fail was there before, and it did not stop working altogether.
func Compare(base, now conclave.Evidence) conclave.Evidence {
	before, after := keys(base.Findings), keys(now.Findings)
	now.New, now.Gone = nil, nil
	for _, f := range now.Findings {
		if !before[f.Key()] {
			now.New = append(now.New, f.Key())
		}
	}
	for _, f := range base.Findings {
		if !after[f.Key()] {
			now.Gone = append(now.Gone, f.Key())
		}
	}
	now.Findings = slices.Clone(now.Findings)
	slices.SortStableFunc(now.Findings, func(a, b conclave.Finding) int {
		return rank(before[a.Key()]) - rank(before[b.Key()])
	})
	now.Checks = slices.Clone(now.Checks)
	for i := range now.Checks {
		c := &now.Checks[i]
		c.Baseline = failedBefore(*c, base, now, before)
	}
	return seal(now)
}

func keys(findings []conclave.Finding) map[string]bool {
	m := map[string]bool{}
	for _, f := range findings {
		m[f.Key()] = true
	}
	return m
}

func rank(known bool) int {
	if known {
		return 1
	}
	return 0
}

func failedBefore(c conclave.Check, base, now conclave.Evidence, before map[string]bool) bool {
	if c.Passed || c.Skipped != "" {
		return false
	}
	i := slices.IndexFunc(base.Checks, func(b conclave.Check) bool { return b.Name == c.Name })
	if i < 0 || base.Checks[i].Passed || base.Checks[i].Skipped != "" {
		return false
	}
	kind, dir, _ := strings.Cut(c.Name, " (")
	dir = strings.TrimSuffix(dir, ")")
	fails := failing(kind)
	found := false
	for _, f := range now.Findings {
		if !fails(f) || dir != "" && !strings.HasPrefix(f.Path+"/", dir+"/") {
			continue
		}
		found = true
		if !before[f.Key()] {
			return false
		}
	}
	return found || c.Output == base.Checks[i].Output
}

// failing returns which findings make a check of that kind fail.
func failing(kind string) func(conclave.Finding) bool {
	return func(f conclave.Finding) bool {
		switch kind {
		case "build":
			return f.Tool == toolCompile && !strings.HasSuffix(f.Path, "_test.go")
		case "format":
			return f.Tool == toolFormat
		case "lint":
			return isLint(f)
		}
		return f.Tool == toolTest
	}
}
