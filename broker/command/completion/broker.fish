# Completion of broker for fish: put it into ~/.config/fish/completions. The
# command itself says what fits.
function __broker_complete
    set -l request (commandline -opc)
    set -l current (commandline -ct)
    string match -q -- '-*' "$current"; and set -a request "$current"
    $request --generate-bash-completion 2>/dev/null
end
complete -c broker -a '(__broker_complete)'
