package conclave

import (
	"slices"
	"strings"
	"unicode"
)

// Relevance says from 0 to 100 how well a text answers to words that somebody
// looks for: how many of them it has, those in its keywords counting double,
// those that are only the beginning of a word half, and those that every question
// has nothing.
func Relevance(query, keywords, text string) int {
	wanted := words(query)
	if telling := slices.DeleteFunc(slices.Clone(wanted), common); len(telling) > 0 {
		wanted = telling
	}
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

// common reports whether a word is in most questions, and so tells nothing.
func common(word string) bool {
	return len(word) < 2 || slices.Contains([]string{"an", "and", "any", "are", "can", "do", "does", "find", "for", "from", "how", "in", "is", "it", "me", "my", "need",
		"of", "on", "or", "please", "some", "somebody", "someone", "that", "the", "this", "to", "want", "what", "which", "who", "with", "you"}, word)
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
