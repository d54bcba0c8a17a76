package evidence

import (
	"context"
	"slices"
	"strings"
)

// upgrade raises vulnerable dependencies one by one.
func (f *fixer) upgrade(ctx context.Context) error {
	r := f.last.report
	keysOf := map[Upgrade][]string{}
	var order []Upgrade
	for _, u := range newest(r.Edits) {
		keysOf[u.Upgrade] = u.keys
		order = append(order, u.Upgrade)
	}
	for _, u := range order {
		why, err := f.raise(ctx, u)
		if err != nil {
			return err
		}
		for _, found := range r.Findings {
			switch {
			case !slices.Contains(keysOf[u], found.Key()):
			case why != "":
				f.why[found.Key()] = why
			default:
				f.tried[found.Key()] = found
			}
		}
	}
	return nil
}

// raise upgrades one dependency, or says why it did not.
func (f *fixer) raise(ctx context.Context, u Upgrade) (why string, err error) {
	proxy, ok := fileURL(f.meter.proxy)
	switch {
	case !ok:
		return "no module proxy can be reached from the sandbox (set GOPROXY to a file:// directory)", nil
	case f.last.build != "":
		return "the tree does not build, so an upgrade can't be verified", nil
	}
	x, err := f.open(nil)
	if err != nil {
		return "", err
	}
	changed, why, err := x.goGet(ctx, u, proxy)
	x.close()
	if err == nil && why == "" {
		var t trial
		var h harm
		if t, h, err = f.try(ctx, changed); err == nil {
			if why = h.text; why == "" {
				f.last.report = t.report
			}
		}
	}
	if err != nil || why != "" {
		return strings.TrimSpace(why), err
	}
	for name, text := range changed {
		f.files[name] = text
	}
	return "", nil
}
