"""Names by which mail programs, scripts, mailing services and offices give themselves away.

Data in the shape of code: fragments of regular expressions, for names in `small_letters`: that is
several times as fast as to compare without case.
"""

from __future__ import annotations

import re


def _one_of(fragments: str, *, whole: bool = False) -> re.Pattern[str]:
    """Return a pattern for any of `fragments`, which commas separate."""
    pieces = "|".join(" ".join(fragment.split()) for fragment in fragments.split(","))
    return re.compile(f"^(?:{pieces})$" if whole else pieces)


def small_letters(name: str) -> str:
    """Return `name` in lower case, without the dot that is left of a Turkish capital İ."""
    return name.lower().replace("i\u0307", "i")


MAIL_CLIENT = _one_of(
    r"""
    outlook, thunderbird, apple mail, iphone mail, ipad mail, icloud, roundcube, zimbra,
    sogo, horde, imp\b, squirrelmail, evolution, kmail, mutt, gnus, claws, sylpheed, the
    bat, eudora, lotus notes, domino, foxmail, yahoomail, yahoo mail, gmail, aol, mailmate,
    airmail, spark, postbox, k-9, k9, fairemail, bluemail, samsung, android, windows mail,
    windows live, em client, emclient, becky, mailspring, pegasus, opera mail, alpine,
    pine\b, nmh, mh-e, vm \d, mailbird, rainloop, snappymail, open-xchange, ox app, webmail,
    mozilla, seamonkey, canary, protonmail, proton mail, tutanota, hey\b, fastmail,
    groupwise, exmh, wanderlust, internet mail service, entourage, mew\b, forte agent,
    ximian, balsa, kontact, trojita, mailpile, cyrusdaboo, mulberry, nextcloud mail, ovm,
    tobit, david, mail\.ru mailer, yandex, coremail, qqmail, qq mail, hotmail, elm\b,
    internet messaging, communigate, messenger express, sun java, oracle connector, scalix,
    afterlogic, mail for windows, zoho mail, em_client
    """,
)
"""What people write mail with, as X-Mailer and User-Agent name it."""

PROGRAM = _one_of(
    r"""
    phpmailer, php/, php \d, swift, symfony, laravel, drupal, wordpress, wpmail, joomla,
    magento, prestashop, odoo, dolibarr, erpnext, \bsap\b, mailgun, sendgrid, nodemailer,
    javamail, jakarta, actionmailer, perl, mime::, python, django, curl, swaks, sendemail,
    blat, microsoft cdo, cdo for, aspmail, indy, chilkat, mailkit, quickbooks,
    zoho (?:books|invoice|crm|campaigns|billing),
    lexware, datev, jtl, invoice, crystal, navision, dynamics, \bcron, jenkins, jira,
    gitlab, nagios, zabbix, whmcs, moodle, mediawiki, phpbb, vbulletin, discourse, otrs,
    zammad, freescout, osticket, mantis, bugzilla, redmine, ilias, php\b, sparkpost,
    postmark, \bses\b
    """,
)
"""What programs send mail with."""

MAILING_PROGRAM = _one_of(
    r"""
    mailchimp, campaign, newsletter, listmonk, mailman, sendinblue, brevo, cleverreach,
    rapidmail, phplist, acymailing, mailpoet, sendy, mautic, emarsys, salesforce,
    getresponse, aweber, hubspot, klaviyo, constant contact, mailjet, inxmail, episerver,
    optivo, mailerlite, activecampaign, sailthru, bulk, mass ?mail, groupmail
    """,
)
"""What newsletters are sent with."""

NO_REPLY = _one_of(
    r"""
    no-?_?\.?reply, do-?_?not-?_?reply, donotreply, noresponse, nepasrepondre,
    ne-pas-repondre, keineantwort, nicht-?antworten, nao-?responda, no-?responder,
    noresponder, niet-?beantwoorden, ej-?svar, ikke-?svar, bounce, mailer, robot, daemon,
    automat
    """,
)
"""Local parts that take no answers."""

OFFICE = _one_of(
    r"""
    accounts?, accounting, admin, administrator, alerts?, billing, booking, buchhaltung, cs,
    customer, customerservice, faktura, factur\w*, fattur\w*, finance, helpdesk, hostmaster,
    it, invoice\w*, notifications?, notify, orders?, payments?, postmaster, rechnung\w*,
    registration, root, sales, security, service, shop, signup, store, support, system,
    tickets?, verify, verwaltung, webmaster, wordpress, kasse, kundenservice, server,
    monitor\w*, cron, backup, donations?, members?, membership, library, reservations?,
    facturation, comptabilite, administracion, amministrazione, ventas, vendite, verkauf,
    vertrieb, pedidos, commandes, bestellung\w*, accueil, office, info, kontakt, contact,
    contacto, mail, hello, team, post
    """,
    whole=True,
)
"""Local parts of offices, behind which people or programs may be."""

PROGRAM_ROLE = _one_of(
    r"""
    accounts?, accounting, billing, buchhaltung, notifications?, notify, orders?, payments?,
    security, system, tickets?, verify, wordpress, server, monitor\w*, cron, backup,
    alerts?, root, admin, administrator, signup, registration, shop, store, support,
    service, helpdesk, webmaster
    """,
    whole=True,
)
"""Local parts that programs send from."""

BULK_ROLE = _one_of(
    r"""
    news\w*, newsletter\w*, marketing, offers?, promo\w*, deals?, angebote?, campaign\w*,
    aktion\w*, mailing\w*, updates?, events?, community, publicidad, ofertas?, specials?,
    sale, subscri\w*, bulletin, infolettre, nieuwsbrief
    """,
    whole=True,
)
"""Local parts that mailings are sent from."""

BULK_FIELDS = tuple(
    """
    x-campaign, x-campaignid, x-campaign-id, x-mc-user, x-mailin-campaign, x-mailin-ein,
    x-listmonk-campaign, x-csa-complaints, x-mailgun-tag, x-sib-id, x-cid, x-rpcampaign,
    x-mailer-lid, x-mailingid, x-mailing-id, x-newsletter, x-acy, x-job, x-sg-campaign,
    x-bulkmail, x-ml-campaign, x-klaviyo-message-id, x-cr-hashedpuid, x-simplycast,
    x-binding, x-messageid, x-phplist-version, x-campaign-name, x-feedback-id, x-emarsys,
    list-unsubscribe-post, feedback-id, x-report-abuse, x-mailer-info, x-abuse, x-marketing,
    x-mailing, x-elastic, x-ctct-id, x-pvq
    """.replace(",", " ").split()
)
"""Header fields that mailing programs set."""

CLIENT_FIELDS = frozenset(
    """
    thread-index, thread-topic, x-ms-has-attach, x-ms-exchange-organization-authas,
    x-originating-ip, x-enigmail-version, x-forwarded-message-id, x-ms-tnef-correlator,
    x-priority-client, x-universally-unique-identifier, x-apple-mail, autocrypt,
    x-google-sender-auth, accept-language
    """.replace(",", " ").split()
)
"""Header fields that people's mail programs set."""

COMPANY = re.compile(
    r"""\b(?:inc|llc|llp|ltd|limited|plc|corp|corporation|company|co|group|gmbh|mbh|ag|kg|ohg|ug|e\.?v|ab|hb
    |kb|oyj?|as|asa|a/s|aps|i/s|s\.?a|s\.?l|s\.?l\.?u|s\.?n\.?c|s\.?r\.?l|s\.?p\.?a|s\.?a\.?r\.?l|sarl|sas|sasu|eurl|sci
    |scs|srl|spa|snc|b\.?v|n\.?v|v\.?o\.?f|stichting|vereniging|sp|z\.?\s?o\.?o|s\.?k\.?a|s\.?r\.?o|a\.?\s?s|kft|zrt|nyrt|bt
    |d\.?o\.?o|d\.?d|ооо|оао|зао|пао|ао|ип|нпо|тов|еоод|оод|ltda|eireli|lda|cv|c\.v|a\.c|s\.c|pty|pte|sdn|bhd|tbk
    |pt|jsc|ooo|tic|şti|sti|team|shop|store|support|service|services|systems|solutions|library
    |university|club|foundation|association|newsletter|info|e\ figli|et\ fils|and\ sons)\b\.?
    | & | и\ сыновья | 株式会社 | 有限会社 | 合同会社 | 公司 | 集团 | 주식회사 | 유한회사
    | شركة | مجموعة | בע"מ""",
    re.VERBOSE,
)
"""What names of companies and teams have, and those of people have not."""
