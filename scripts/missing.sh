# What tests could not be had on a machine, to be sourced.
#
# report_missing names what is in the array missing. CI can have everything, so there it counts as a failure.

# shellcheck shell=bash
missing=()

report_missing() {
	if [ ${#missing[@]} -gt 0 ]; then
		printf '\nNot tested, for it cannot be had on this machine:\n' >&2
		printf '  %s\n' "${missing[@]}" >&2
		if [ "${CI:-}" = true ]; then
			failed=1
		fi
	fi
}
