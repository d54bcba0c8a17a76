package evidence

import (
	"context"
	"fmt"
	"strings"

	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/logging"

	"conclave"
)

// findSecrets looks for credentials in the tree's text files. What it found is
// told by rule and place; the secret itself appears nowhere, not even hashed.
func findSecrets(ctx context.Context, dir string, files listing) ([]draft, error) {
	logging.Logger = logging.Logger.Level(zerolog.Disabled) // it writes to standard error, secrets included
	detector, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		return nil, fmt.Errorf("loading the rules of gitleaks: %w", err)
	}
	var drafts []draft
	for _, name := range files.files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		text := readText(dir, name)
		if text == nil {
			continue
		}
		seen := map[string]int{}
		//lint:ignore SA1019 what replaces it comes with version 9, which is not out
		for _, found := range detector.DetectContext(ctx, detect.Fragment{Raw: string(text), FilePath: name}) {
			// The text around the secret tells one finding of a rule from another.
			around := strings.ReplaceAll(found.Match, found.Secret, "")
			basis := digest(toolGitleaks, found.RuleID, name, around)
			level := conclave.LevelError
			if found.RuleID == "generic-api-key" {
				level = conclave.LevelWarning // it goes by the look of a value, not by an issuer's format
			}
			drafts = append(drafts, draft{Finding: conclave.Finding{
				Tool: toolGitleaks, Rule: found.RuleID, Level: level, Category: catSecret,
				Path: name, Line: found.StartLine + 1, Column: found.StartColumn,
				Message:     strings.TrimSuffix(found.Description, ".") + " (redacted)",
				Fingerprint: digest(basis, fmt.Sprint(seen[basis])),
			}})
			seen[basis]++
		}
	}
	return drafts, nil
}
