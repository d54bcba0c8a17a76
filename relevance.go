package conclave

import (
	"slices"
	"strings"
	"unicode"
)

// Relevance says from 0 to 100 how well a text answers to words that somebody
// looks for: how many of them it has, those in its keywords counting double, and
// those that are only the beginning of a word half.
func Relevance(query, keywords, text string) int {
	wanted := words(query)
	if len(wanted) == 0 {
		return 0
	}
	strong, weak := words(keywords), words(text)
	sum := 0
	for _, w := range wanted {
		sum += max(2*match(w, strong), match(w, weak))
	}
	return sum * 100 / (4 * len(wanted))
}

// match is 2 for a word that is there, 1 for the beginning of one or the other.
func match(word string, in []string) int {
	best := 0
	for _, w := range in {
		switch {
		case w == word:
			return 2
		case len(w) >= 4 && len(word) >= 4 && (strings.HasPrefix(w, word) || strings.HasPrefix(word, w)):
			best = 1
		}
	}
	return best
}

func words(text string) []string {
	all := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	slices.Sort(all)
	return slices.Compact(all)
}
