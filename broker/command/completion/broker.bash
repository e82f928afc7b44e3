# Completion of broker for bash: source it, or put it into
# /etc/bash_completion.d. The command itself says what fits.
_broker() {
  local current=${COMP_WORDS[COMP_CWORD]} request=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ $current == -* ]] && request+=("$current")
  local IFS=$'\n'
  COMPREPLY=($(compgen -W "$("${request[@]}" --generate-bash-completion 2>/dev/null)" -- "$current"))
}
complete -o bashdefault -o default -F _broker broker
