require 'json'
require 'jwt'
require 'net/http'

# The issuer's keys. They are fetched every 5 minutes, and for an unknown key ID,
# but not twice within 10 seconds.
class Keys
  def initialize(url)
    @url = URI(url)
    @fetched = -Float::INFINITY
  end

  def call(options)
    age = now - @fetched
    fetch if age > 300 || (options[:kid_not_found] && age > 10)
    @set
  end

  private

  def fetch
    response = Net::HTTP.get_response(@url)
    response.value # raises unless it is 200
    @set = JSON.parse(response.body, symbolize_names: true)
    @fetched = now
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

KEYS = Keys.new(ENV.fetch('JWKS_URL'))

# Returns the claims of a good token ('sub' is the user), and raises a
# JWT::DecodeError otherwise.
def verify(token)
  claims, header = JWT.decode(token, nil, true,
                              algorithms: ['ES256'], jwks: KEYS,
                              iss: ENV.fetch('ISSUER'), verify_iss: true,
                              aud: ENV.fetch('AUDIENCE'), verify_aud: true,
                              required_claims: %w[exp sub], leeway: 10)
  raise JWT::DecodeError, 'not an access token' unless header['typ'] == 'at+jwt'

  claims
end
