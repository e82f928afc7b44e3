# Completion of broker for PowerShell: add it to $PROFILE. The command itself
# says what fits.
Register-ArgumentCompleter -Native -CommandName broker -ScriptBlock {
    param($word, $ast, $position)
    $request = @($ast.CommandElements | ForEach-Object { $_.ToString() })
    if ($word -and -not $word.StartsWith('-')) { $request = @($request | Select-Object -SkipLast 1) }
    $rest = @($request | Select-Object -Skip 1) + '--generate-bash-completion'
    & $request[0] @rest 2>$null | Where-Object { $_ -like "$word*" } | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }
}
