# frozen_string_literal: true

# Named checks: each prints one line, "ok NAME" or "not ok NAME: why"; the last line is the plan, "1..N".
require 'timeout'

$stdout.sync = true
CHECKS = {}

def check(name, &work) = CHECKS[name] = work

def equal(got, wanted)
  raise "got #{got.inspect}, not #{wanted.inspect}" unless got == wanted
end

def fails(kind)
  yield
rescue kind => e
  e
else
  raise "no #{kind}"
end

# run runs all checks, each within so many seconds. An error is told with its line in the script.
def run(seconds)
  script = File.basename($PROGRAM_NAME)
  CHECKS.each do |name, work|
    Timeout.timeout(seconds, &work)
    puts "ok #{name}"
  rescue StandardError, Timeout::Error => e
    line = e.backtrace&.grep(/#{Regexp.escape(script)}.*block/)&.first.to_s[/#{Regexp.escape(script)}:\d+/]
    puts "not ok #{name}: #{e.class} #{e.message.split.join(' ')} #{line}"
  end
  puts "1..#{CHECKS.size}"
end
