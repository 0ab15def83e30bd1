"""Words that the phonemizer's lexicons lack or read wrongly: lina, loanwords, foreign names."""

_AMERICAN = {
    "lina": "lˈinə", "déjà": "dˌAʒɑ", "vu": "vˈu", "cliché": "kliʃˈA", "clichés": "kliʃˈAz",
    "fiancé": "fiˈɑnsA", "fiancée": "fiˈɑnsA", "protégé": "pɹˈOTəʒˌA", "señor": "sAnjˈɔɹ", "señora": "sAnjˈɔɹə",
    "são": "sˈW", "nestlé": "nˈɛslA", "pokémon": "pˈOkəmˌɑn", "beyoncé": "biˈɑnsA", "josé": "hOzˈA",
    "zoë": "zˈOi", "chloë": "klˈOi", "brontë": "bɹˈɑnti", "siobhan": "ʃəvˈɔn", "siobhán": "ʃəvˈɔn",
    "zürich": "zˈʊɹɪk", "dvořák": "dvˈɔɹʒɑk", "touché": "tuʃˈA", "sauté": "sɔtˈA", "entrée": "ˈɑntɹA",
    "jalapeño": "hˌɑləpˈAnjO", "açaí": "ˌɑsɑˈi", "crème": "kɹˈɛm", "brûlée": "bɹulˈA", "piñata": "pɪnjˈɑTə",
    "résumé": "ɹˈɛzəmˌA", "résumés": "ɹˈɛzəmˌAz", "niño": "nˈinjO", "mâché": "məʃˈA", "cortés": "kɔɹtˈɛz",
    "nguyen": "wˈɪn", "nguyễn": "wˈɪn", "hermione": "hɜɹmˈIəni", "saoirse": "sˈɜɹʃə", "gruyère": "ɡɹujˈɛɹ",
    "curaçao": "kjˈʊɹəsˌO", "häagen": "hˈɑɡən", "gödel": "ɡˈɜɹdᵊl", "noël": "nOˈɛl",
}  # fmt: skip
_BRITISH = {
    "lina": "lˈiːnə", "déjà": "dˌAʒɑː", "vu": "vˈuː", "cliché": "klˈiːʃA", "clichés": "klˈiːʃAz",
    "fiancé": "fiˈɒnsA", "fiancée": "fiˈɒnsA", "protégé": "pɹˈɒtəʒˌA", "señor": "sɛnjˈɔː",
    "señora": "sɛnjˈɔːɹə", "são": "sˈW", "nestlé": "nˈɛslA", "pokémon": "pˈQkɪmˌɒn", "beyoncé": "biˈɒnsA",
    "josé": "hQzˈA", "zoë": "zˈQi", "chloë": "klˈQi", "brontë": "bɹˈɒnti", "siobhan": "ʃɪvˈɔːn",
    "siobhán": "ʃɪvˈɔːn", "zürich": "zjˈʊəɹɪk", "dvořák": "dvˈɔːʒak", "touché": "tuːʃˈA", "sauté": "sˈQtA",
    "entrée": "ˈɒntɹA", "jalapeño": "hˌaləpˈAnjQ", "açaí": "ˌasɑːˈiː", "crème": "kɹˈɛm", "brûlée": "bɹuːlˈA",
    "piñata": "pɪnjˈɑːtə", "résumé": "ɹˈɛzjuːmˌA", "résumés": "ɹˈɛzjuːmˌAz", "niño": "nˈiːnjQ",
    "mâché": "mˈaʃA", "cortés": "kɔːtˈɛz", "nguyen": "wˈɪn", "nguyễn": "wˈɪn", "hermione": "hɜːmˈIəni",
    "saoirse": "sˈɜːʃə", "gruyère": "ɡɹˈuːjɛː", "curaçao": "kjˈʊəɹəsˌQ", "häagen": "hˈɑːɡən",
    "gödel": "ɡˈɜːdᵊl", "noël": "nQˈɛl",
}  # fmt: skip


def own_word(word: str, british: bool) -> str | None:
    """Phonemes of a word in lower case; None if the lexicons have it."""
    return (_BRITISH if british else _AMERICAN).get(word)
